"""Reference outputs of MTCNN, from the Python package facenet-pytorch 2.6.0 itself.

Regenerate with `python make.py`; needs torch, torchvision, numpy, safetensors, pillow and
facenet-pytorch. Writes mtcnn.safetensors beside itself:

- {pnet,rnet,onet}/*   outputs of the networks in float64, of weights and images by the formulas of
                       ../make.py; samples as there
- resample/*           `imresample` of bytes by formula, as the networks take it; samples
- suppress/*           boxes and probabilities, and the indices that `batched_nms` (union) and `nms_numpy`
                       (smaller) keep
- cascade/*            a picture by formula through the whole of `detect_face` in float32, with weights by
                       formula, those of the last layers a tenth of it: thresholds, boxes with
                       probabilities, landmarks

No published weight is in it. The variables of the formula are laid out as the program lays them out:
filters (out, h, w, in), the first dense layer over (h, w, channel).
"""

import pathlib
import sys

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from facenet_pytorch.models.utils import detect_face as package
from safetensors.torch import save_file
from torchvision.ops.boxes import batched_nms

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from make import OUTPUT_LIMIT, sample, unit, variable  # noqa: E402

SIZES = {"pnet": (2, 27, 34), "rnet": (3, 24, 24), "onet": (2, 48, 48)}
PICTURE = (90, 120)
# The last layers, whose weights are a tenth of the formula's in the cascade: far regressions leave the
# picture, where the package fails, and probabilities of 1 are no order.
HEADS = ("conv4_", "dense5_1", "dense5_2", "dense6_")


def network(stem, heads=1.0):
    """The package's network with weights by formula, in float64."""
    net = {"pnet": PNet, "rnet": RNet, "onet": ONet}[stem](pretrained=False).double().eval()
    state = {}
    for name, t in net.state_dict().items():
        dims = list(t.shape)
        if t.dim() == 4:
            values = variable(stem, name, [dims[0], dims[2], dims[3], dims[1]]).permute(0, 3, 1, 2)
        elif name in ("dense4.weight", "dense5.weight"):
            # The package flattens over (w, h, channel).
            values = variable(stem, name, dims).reshape(dims[0], 3, 3, -1).permute(0, 2, 1, 3).reshape(dims)
        else:
            values = variable(stem, name, dims)
        state[name] = values.contiguous() * (heads if name.startswith(HEADS) else 1.0)
    net.load_state_dict(state)
    return net


def pixels(name, height, width):
    """Bytes by formula, smooth enough to differ from window to window: HWC."""
    coarse = unit(f"{name}/coarse", (height // 10) * (width // 10) * 3).reshape(height // 10, width // 10, 3)
    noise = unit(f"{name}/noise", height * width * 3).reshape(height, width, 3)
    values = 0.8 * coarse.repeat(10, 0).repeat(10, 1) + 0.2 * noise
    return np.floor(127.5 + 127.5 * values).astype(np.uint8)


def make_networks(stored):
    for stem, (batch, height, width) in SIZES.items():
        x = torch.from_numpy(unit(f"{stem}/x", batch * height * width * 3).astype(np.float32).astype(np.float64))
        x = x.reshape(batch, height, width, 3).permute(0, 3, 1, 2)
        with torch.no_grad():
            outputs = network(stem)(x)
        named = {"regression": outputs[0], "probability": outputs[-1][:, 1]}
        if stem == "onet":
            named["landmarks"] = outputs[1]
        for name, output in named.items():
            output = output.permute(0, 2, 3, 1) if output.dim() == 4 else output
            stored[f"{stem}/{name}"] = sample(output, OUTPUT_LIMIT)


def make_resample(stored):
    image = torch.from_numpy(pixels("resample", 60, 80)).permute(2, 0, 1)[None].float()
    for name, (top, bottom, left, right), size in [
        ("smaller", (0, 60, 0, 80), (37, 51)),
        ("larger", (7, 29, 10, 21), (48, 48)),
        ("mixed", (0, 60, 33, 45), (24, 24)),
    ]:
        out = (package.imresample(image[:, :, top:bottom, left:right], size) - 127.5) * 0.0078125
        stored[f"resample/{name}"] = sample(out.permute(0, 2, 3, 1).double(), OUTPUT_LIMIT)


def make_suppress(stored):
    u = unit("suppress/boxes", 400 * 4).reshape(400, 4)
    corner = np.floor(80 * (u[:, :2] + 1))
    boxes = np.concatenate([corner, corner + np.floor(10 + 25 * (u[:, 2:] + 1))], 1).astype(np.float32)
    # Shuffled, so that no two are equally probable.
    probabilities = ((np.arange(400) * 149 % 400 + 1) / 401).astype(np.float32)
    t, p = torch.from_numpy(boxes), torch.from_numpy(probabilities)
    stored["suppress/boxes"], stored["suppress/probabilities"] = t.double(), p.double()
    none = torch.zeros(400, dtype=torch.int64)
    stored["suppress/union-0.5"] = batched_nms(t, p, none, 0.5).double()
    stored["suppress/union-0.7"] = batched_nms(t, p, none, 0.7).double()
    stored["suppress/smaller-0.7"] = package.batched_nms_numpy(t, p, none, 0.7, "Min").double()


def detect(nets, picture, thresholds):
    with torch.no_grad():
        boxes, points = package.detect_face(picture, 20, *nets, thresholds, 0.709, torch.device("cpu"))
    return torch.tensor(np.array(boxes[0], dtype=np.float64)), torch.tensor(np.array(points[0], dtype=np.float64))


def make_cascade(stored):
    """Thresholds at which rounding decides nothing: weights changed in their last digits must agree."""
    picture = pixels("cascade", *PICTURE)
    nets, changed = ([network(stem, 0.1).float() for stem in SIZES] for _ in range(2))
    for net in changed:
        for weight in net.parameters():
            weight.data *= 1 + 1e-6 * torch.rand_like(weight)
    for thresholds in ([0.6, 0.5, 0.5], [0.65, 0.5, 0.5], [0.55, 0.5, 0.5], [0.6, 0.4, 0.4], [0.55, 0.3, 0.3]):
        (boxes, points), (other, other_points) = (detect(all, picture, thresholds) for all in (nets, changed))
        if len(boxes) == len(other) >= 4:
            if (boxes - other).abs().max() < 1e-2 and (points - other_points).abs().max() < 1e-2:
                stored["cascade/thresholds"] = torch.tensor(thresholds, dtype=torch.float64)
                stored["cascade/boxes"], stored["cascade/landmarks"] = boxes, points
                return
    sys.exit("no thresholds at which rounding decides nothing")


if __name__ == "__main__":
    stored = {}
    make_networks(stored)
    make_resample(stored)
    make_suppress(stored)
    make_cascade(stored)
    save_file({name: t.contiguous() for name, t in stored.items()}, HERE / "mtcnn.safetensors")
