"""Reference outputs and gradients of every network, in float64, from an independent description.

Regenerate with `python make.py`; needs torch, numpy and safetensors. Writes beside itself:

- networks.safetensors   samples of outputs, gradients, input gradients and penalty gradients
- legacy/*.head          files that `torch.save` wrote in its old container, without the weights
- legacy/small.*         whole files of a few kilobytes, in the old and in the zip container

The networks are written here in NCHW on torch.nn.functional, after the papers: E after BicycleGAN
(Zhu et al., 2017), G after Huang et al. (2018), D after StarGAN (Choi et al., 2018), LightCNN after
Wu et al. (2018). Nothing is translated from the program under test.

Neither weights nor images are stored: both are formulas. With u(name, i) in [-1, 1) the i-th value
of the stream `name` (see `unit`), the i-th element of a variable is, rounded to float32,

    .bias, .shift          0.1 u
    .scale                 1 + 0.2 u
    weights of LightCNN    sqrt(3 / fan_in) u, times 0.2 for the second layer of a residual block
    other weights          sqrt(6 / fan_in) u

where fan_in is the product of all dimensions but the first, and four times the first one for a
deconvolution. Elements count in the program's layout, which is NHWC: filters are (out, h, w, in),
deconvolutions (in, h, w, out), and flattened maps run over (h, w, channel). `Weights` brings them
into torch's layout, inside the graph, so that gradients come out in the program's layout again.

A stored sample of a tensor with n values, laid out as the program lays it out, is all of them, or
LIMIT of them spread evenly by the golden ratio (see `sample`), followed by the Euclidean norm of
all n.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
CLASSES = 5
LATENT = 256
DIVISOR = {"paper": 1, "small": 4, "tiny": 8}
OUTPUT_LIMIT, GRADIENT_LIMIT = 512, 64
# A critic of 64 pixels says one number per image, and of few numbers all can be small by chance.
CRITIC_BATCH = 4
PENALTY_WEIGHT = 10.0

torch.set_default_dtype(torch.float64)


# The formulas.


def name_hash(data):
    """FNV-1a of bytes, 64 bits."""
    state = 0xCBF29CE484222325
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


def unit(name, count):
    """The first `count` values of the stream `name`: splitmix64 at hash(name) + 1, + 2, ..."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64)
        x = np.uint64(name_hash(name.encode())) + x * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def rounded(values):
    return torch.from_numpy(values.astype(np.float32).astype(np.float64))


def variable(case, name, dims):
    u = unit(f"{case}/{name}", math.prod(dims))
    if name.endswith((".bias", ".shift")):
        values = 0.1 * u
    elif name.endswith(".scale"):
        values = 1.0 + 0.2 * u
    else:
        fan_in = 4 * dims[0] if name.startswith("deconv") else math.prod(dims[1:])
        light_cnn = ".filter." in name or name.startswith("fc")
        bound = math.sqrt((3.0 if light_cnn else 6.0) / fan_in)
        values = (0.2 * bound if "conv2.filter" in name else bound) * u
    return rounded(values).reshape(dims)


def image(case, batch, size, channels, grey=False):
    """Squares of 16 pixels under noise: NHWC by formula, returned as NCHW."""
    squares = unit(f"{case}/squares", batch * (size // 16) ** 2 * channels)
    squares = squares.reshape(batch, size // 16, size // 16, channels).repeat(16, 1).repeat(16, 2)
    noise = unit(f"{case}/noise", batch * size * size * channels).reshape(batch, size, size, channels)
    values = 0.7 * squares + 0.3 * noise
    return rounded(0.5 * values + 0.5 if grey else values).permute(0, 3, 1, 2).contiguous()


class Weights:
    """Variables by name in the program's layout, handed out in torch's."""

    classes = CLASSES

    def __init__(self, case):
        self.case = case
        self.leaves = {}

    def leaf(self, name, *dims):
        assert name not in self.leaves
        self.leaves[name] = variable(self.case, name, dims).requires_grad_()
        return self.leaves[name]

    def vector(self, name, count):
        return self.leaf(name, count)

    def matrix(self, name, outputs, inputs):
        return self.leaf(name, outputs, inputs)

    def filters(self, name, outputs, inputs, size):
        return self.leaf(name, outputs, size, size, inputs).permute(0, 3, 1, 2)

    def deconvolution(self, name, inputs, outputs, size):
        return self.leaf(name, inputs, size, size, outputs).permute(0, 3, 1, 2)

    def from_map(self, name, outputs, channels, size):
        """A matrix over a flattened map, torch's flattening being (channel, h, w)."""
        leaf = self.leaf(name, outputs, size * size * channels)
        return leaf.reshape(outputs, size, size, channels).permute(0, 3, 1, 2).reshape(outputs, -1)

    def to_map(self, name, channels, size, inputs=None):
        """A matrix that gives a flattened map, or its bias."""
        leaf = self.leaf(name, size * size * channels, *([] if inputs is None else [inputs]))
        positions_last = leaf.reshape(size, size, channels, -1).permute(2, 0, 1, 3)
        return positions_last.reshape(leaf.shape)


# The networks.


def encoder(w, x, divisor, pooled):
    """BicycleGAN-like residual blocks; two heads in one matrix; no pooling behind the last norm."""
    h = x
    for nth, channels in enumerate([64, 128, 256, 512]):
        o, i, stem = channels // divisor, h.shape[1], f"blocks.{nth}"
        norm = lambda t, name: F.instance_norm(
            t, weight=w.vector(f"{stem}.{name}.scale", o), bias=w.vector(f"{stem}.{name}.shift", o), eps=1e-5
        )
        main = F.conv2d(h, w.filters(f"{stem}.conv1.weight", o, i, 3), stride=1 if pooled else 2, padding=1)
        main = F.relu(norm(main, "norm1"))
        main = F.conv2d(main, w.filters(f"{stem}.conv2.weight", o, o, 3), padding=1)
        main = norm(main, "norm2")
        if pooled:
            main = F.avg_pool2d(main, 2)
        shortcut = F.conv2d(
            F.avg_pool2d(h, 2), w.filters(f"{stem}.shortcut.weight", o, i, 1), w.vector(f"{stem}.shortcut.bias", o)
        )
        h = F.relu(main + shortcut)
    head = w.from_map("head.weight", 2 * LATENT, h.shape[1], 8)
    moments = F.linear(h.flatten(1), head, w.vector("head.bias", 2 * LATENT))
    return {"mu": moments[:, :LATENT], "logvar": moments[:, LATENT:]}


def generator(w, z, c, divisor, channels, every_layer=False):
    """A 2x2 start, six deconvolutions that double; scales and shifts affine in latent and label, or not."""
    widths = [width // divisor for width in (512, 512, 512, 256, 128, 64)]
    weight = w.to_map("start.weight", widths[0], 2, LATENT + c.shape[1])
    bias = w.to_map("start.bias", widths[0], 2)
    h = F.relu(F.linear(torch.cat([z, c], 1), weight, bias)).reshape(-1, widths[0], 2, 2)
    for nth in range(1, 6):
        i, o = widths[nth - 1], widths[nth]
        h = F.conv_transpose2d(h, w.deconvolution(f"deconv{nth}.weight", i, o, 4), stride=2, padding=1)
        scale, shift = w.vector(f"deconv{nth}.norm.scale", o), w.vector(f"deconv{nth}.norm.shift", o)
        if every_layer:
            condition = torch.cat([z, c], 1) @ w.matrix(f"deconv{nth}.norm.weight", 2 * o, LATENT + c.shape[1]).T
            scale, shift = (part[:, :, None, None] for part in (scale + condition[:, :o], shift + condition[:, o:]))
            h = F.relu(F.instance_norm(h, eps=1e-5) * scale + shift)
        else:
            h = F.relu(F.instance_norm(h, weight=scale, bias=shift, eps=1e-5))
    last = w.deconvolution("deconv6.weight", widths[5], channels, 4)
    x = F.conv_transpose2d(h, last, w.vector("deconv6.bias", channels), stride=2, padding=1)
    return {"image": torch.tanh(x)}


def discriminator(w, x, divisor, cap):
    """StarGAN's critic; a map of 2x2 or 1x1 pixels remains of 128 or 64."""
    h, features = x, []
    for nth, width in enumerate([64, 128, 256, 512, 1024, 2048], start=1):
        o, i = min(width, cap) // divisor, h.shape[1]
        weight, bias = w.filters(f"conv{nth}.weight", o, i, 4), w.vector(f"conv{nth}.bias", o)
        h = F.leaky_relu(F.conv2d(h, weight, bias, stride=2, padding=1), 0.01)
        features.append(h)
    src = F.conv2d(h, w.filters("src.weight", 1, h.shape[1], 3), padding=1)
    cls = F.conv2d(h, w.filters("cls.weight", w.classes, h.shape[1], h.shape[2]))
    outputs = {"src": src, "cls": cls.flatten(1)}
    return outputs | {f"features.{nth}": feature for nth, feature in enumerate(features[-3:])}


def max_feature_map(x):
    first, second = torch.chunk(x, 2, dim=1)
    return torch.maximum(first, second)


def light_cnn(w, x, divisor, kind):
    """LightCNN-9, -29 and -29 v2, in evaluation mode."""

    def mfm(x, stem, outputs, size):
        outputs //= divisor
        weight = w.filters(f"{stem}.filter.weight", 2 * outputs, x.shape[1], size)
        return max_feature_map(F.conv2d(x, weight, w.vector(f"{stem}.filter.bias", 2 * outputs), padding=size // 2))

    def group(x, stem, inputs, outputs):
        return mfm(mfm(x, f"{stem}.conv_a", inputs, 1), f"{stem}.conv", outputs, 3)

    def residual(x, stem, count, channels):
        for nth in range(count):
            x = x + mfm(mfm(x, f"{stem}.{nth}.conv1", channels, 3), f"{stem}.{nth}.conv2", channels, 3)
        return x

    def pool(x):
        maximum = F.max_pool2d(x, 2, 2, ceil_mode=True)
        return maximum + F.avg_pool2d(x, 2) if kind == "lightcnn-29v2" else maximum

    if kind == "lightcnn-9":
        h = pool(mfm(x, "features.0", 48, 5))
        h = pool(group(h, "features.2", 48, 96))
        h = pool(group(h, "features.4", 96, 192))
        h = group(h, "features.6", 192, 128)
        h = pool(group(h, "features.7", 128, 128))
    else:
        h = pool(mfm(x, "conv1", 48, 5))
        h = pool(group(residual(h, "block1", 1, 48), "group1", 48, 96))
        h = pool(group(residual(h, "block2", 2, 96), "group2", 96, 192))
        h = group(residual(h, "block3", 3, 192), "group3", 192, 128)
        h = pool(group(residual(h, "block4", 4, 128), "group4", 128, 128))
    flat, channels = h.flatten(1), h.shape[1]
    if kind == "lightcnn-29v2":
        feature = F.linear(flat, w.from_map("fc.weight", 256, channels, 8), w.vector("fc.bias", 256))
        logits = F.linear(feature, w.matrix("fc2.weight", w.classes, 256))
    else:
        stem = "fc1.filter" if kind == "lightcnn-9" else "fc.filter"
        weight, bias = w.from_map(f"{stem}.weight", 512, channels, 8), w.vector(f"{stem}.bias", 512)
        feature = max_feature_map(F.linear(flat, weight, bias))
        logits = F.linear(feature, w.matrix("fc2.weight", w.classes, 256), w.vector("fc2.bias", w.classes))
    return {"feature": feature, "logits": logits}


# What is stored.


def program_layout(t):
    return t.permute(0, 2, 3, 1) if t.dim() == 4 else t


def sample(t, limit):
    flat = t.detach().reshape(-1)
    chosen = flat
    if flat.numel() > limit:
        chosen = flat[[(nth * 2654435761 % 2**32) * flat.numel() >> 32 for nth in range(limit)]]
    return torch.cat([chosen, flat.norm().reshape(1)]).contiguous()


def store_case(stored, case, w, outputs, gradients):
    for name, output in outputs.items():
        stored[f"{case}/{name}"] = sample(program_layout(output), OUTPUT_LIMIT)
    if gradients:
        # The loss that gradients are of: the sum of all outputs times fixed numbers.
        loss = sum(
            (program_layout(output).reshape(-1) * rounded(unit(f"{case}/probe.{name}", output.numel()))).sum()
            for name, output in outputs.items()
        )
        store_gradients(stored, f"{case}/gradient", w, loss)


def store_gradients(stored, prefix, w, loss):
    leaves = list(w.leaves.items())
    gradients = torch.autograd.grad(loss, [leaf for _, leaf in leaves], allow_unused=True)
    for (name, _), gradient in zip(leaves, gradients):
        # The penalty's gradient of a bias is zero everywhere: the slopes' signs are constant.
        if gradient is not None and gradient.norm() > 0:
            stored[f"{prefix}/{name}"] = sample(gradient, GRADIENT_LIMIT)


def store_penalty(stored, case, x, divisor, cap):
    """WGAN-GP's penalty at x, by double backward."""
    w, x = Weights(case), x.clone().requires_grad_()
    value = discriminator(w, x, divisor, cap)["src"].mean(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    stored[f"{case}/input_gradient"] = sample(program_layout(gradient), OUTPUT_LIMIT)
    penalty = PENALTY_WEIGHT * ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    stored[f"{case}/penalty"] = penalty.detach().reshape(1)
    store_gradients(stored, f"{case}/penalty_gradient", w, penalty)


def make_networks():
    stored = {}
    for width, divisor in DIVISOR.items():
        tiny = width == "tiny"
        batch = 2 if tiny else 1
        for channels, colour in ((1, "grey"), (3, "rgb")):
            for downsampling in ("strided", "pooled"):
                case = f"encoder-{downsampling}-{colour}-{width}"
                w, x = Weights(case), image(case, batch, 128, channels)
                store_case(stored, case, w, encoder(w, x, divisor, downsampling == "pooled"), tiny)
            for conditioning in ("start", "every-layer"):
                case = f"generator-{conditioning}-{colour}-{width}"
                w, z = Weights(case), rounded(1.7 * unit(f"{case}/z", batch * LATENT)).reshape(batch, LATENT)
                c = torch.zeros(batch, CLASSES)
                for row in range(batch):
                    c[row, row], c[row, row + 2] = 0.75, 0.25
                made = generator(w, z, c, divisor, channels, conditioning == "every-layer")
                store_case(stored, case, w, made, tiny)
            for capacity, cap in (("full", 2048), ("compact", 512)):
                for scale, size in (("full128", 128), ("half64", 64)):
                    case = f"discriminator-{capacity}-{scale}-{colour}-{width}"
                    w, x = Weights(case), image(case, CRITIC_BATCH, size, channels)
                    store_case(stored, case, w, discriminator(w, x, divisor, cap), tiny)
                    if tiny:
                        store_penalty(stored, case, x, divisor, cap)
        for kind in ("lightcnn-9", "lightcnn-29", "lightcnn-29v2"):
            case = f"{kind}-{width}"
            w, x = Weights(case), image(case, batch, 128, 1, grey=True)
            store_case(stored, case, w, light_cnn(w, x, divisor, kind), tiny)
            print(width, kind)
    save_file(stored, HERE / "networks.safetensors")


# Files as published: {epoch, arch, state_dict, prec1}, names prefixed by a data-parallel wrapper.


def published_state(kind, w):
    state = {}
    for name, leaf in w.leaves.items():
        t = leaf.detach()
        if t.dim() == 4:
            t = t.permute(0, 3, 1, 2)
        elif name in ("fc1.filter.weight", "fc.filter.weight", "fc.weight"):
            t = t.reshape(len(t), 8, 8, -1).permute(0, 3, 1, 2).reshape(len(t), -1)
        state[f"module.{name}"] = t.to(torch.float32).contiguous()
    return state


def make_heads():
    """The weights are a formula, so of each file only what stands before them is kept, with the
    order of the payloads and the FNV-1a hash of the whole file."""
    described = {}
    for kind in ("lightcnn-9", "lightcnn-29", "lightcnn-29v2"):
        case = f"{kind}-tiny"
        w = Weights(case)
        with torch.no_grad():
            light_cnn(w, image(case, 1, 128, 1, grey=True), DIVISOR["tiny"], kind)
        state = published_state(kind, w)
        path = HERE / "legacy" / f"{kind}.head"
        checkpoint = {"epoch": 80, "arch": kind, "state_dict": state, "prec1": 98.7}
        torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
        whole = path.read_bytes()
        payloads, starts = [], []
        for name, t in state.items():
            payload = t.numel().to_bytes(8, "little") + t.numpy().tobytes()
            starts.append((whole.index(payload), name))
            payloads.append(payload)
        starts.sort()
        assert starts[0][0] + sum(map(len, payloads)) == len(whole)
        path.write_bytes(whole[: starts[0][0]])
        order = [name.removeprefix("module.") for _, name in starts]
        described[kind] = {"payloads": order, "fnv1a": f"{name_hash(whole):016x}"}
    (HERE / "legacy" / "heads.json").write_text(json.dumps(described, indent=1) + "\n")


def make_small():
    """Every number type, a transposed view, two views of one storage, a scalar, an empty tensor."""
    grid = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = {
        "float": grid / 8,
        "transposed": (grid + 100).t(),
        "part": grid[1:, 2:],
        "same": grid[0],
        "double": torch.tensor([0.1, -2.5e300]),
        "half": torch.tensor([1.5, -0.25], dtype=torch.float16),
        "bfloat": torch.tensor([3.0, -0.5], dtype=torch.bfloat16),
        "long": torch.tensor([7, -9], dtype=torch.int64),
        "byte": torch.tensor([0, 255], dtype=torch.uint8),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.tensor([4.0, 5.0], dtype=torch.float32)),
    }
    checkpoint = {"epoch": 3, "arch": "small", "state_dict": state, "prec1": torch.tensor(12.5), "none": [None, True]}
    torch.save(checkpoint, HERE / "legacy" / "small.pth.tar", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, HERE / "legacy" / "small.zip.pth")


if __name__ == "__main__":
    (HERE / "legacy").mkdir(exist_ok=True)
    make_small()
    make_heads()
    make_networks()
