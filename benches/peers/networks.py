"""The networks and training steps of `bench-networks` in PyTorch, timed.

    python networks.py [--width paper] [--batch 16] [--modes f32,f32-cl,bf16-cl,compile-bf16] [--json FILE]

The networks are those of nets/reference/make.py, which the tests hold the program against. The losses
of the CVAE-GAN's update are written here as one would for PyTorch, and first held against
cvae-gan/reference/expected.json; nothing is timed if they differ.

Modes: `f32`; `f32-cl` with channels last; `bf16-cl`, where inference has its weights in bfloat16 and
training is under autocast; `compile-f32` and `compile-bf16`, the same through torch.compile. For GPUs:
`tf32`, which is `f32` with TF32 allowed, as it is in all other modes but `f32`; `graphs-tf32` and
`graphs-bf16`, through torch.compile with CUDA graphs.
"""

import argparse
import contextlib
import importlib.util
import json
import math
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]


def module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    # Where torch.compile looks functions up by name.
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


networks = module("reference_networks", ROOT / "nets/reference/make.py")
recipe = module("reference_recipe", ROOT / "cvae-gan/reference/make.py")
torch.set_default_dtype(torch.float32)
LATENT = networks.LATENT
DIVISOR = networks.DIVISOR


# Weights, in torch's own layout, made when first asked for.


class Parameters:
    def __init__(self, classes, device="cpu", layout=torch.contiguous_format, fill=None, learns=True):
        self.classes, self.device, self.layout, self.learns = classes, device, layout, learns
        self.fill = fill or self.chance
        self.made = {}

    @staticmethod
    def chance(name, dims):
        if name.endswith(".scale"):
            return torch.ones(dims)
        if len(dims) == 1:
            return torch.zeros(dims)
        inputs = 4 * dims[0] if name.startswith("deconv") else math.prod(dims[1:])
        return torch.randn(dims) * math.sqrt(1 / inputs)

    def get(self, name, dims):
        if name not in self.made:
            value = self.fill(name, dims).to(self.device)
            if len(dims) == 4:
                value = value.contiguous(memory_format=self.layout)
            self.made[name] = value.detach().requires_grad_(self.learns)
        return self.made[name]

    def vector(self, name, count):
        return self.get(name, (count,))

    def matrix(self, name, outputs, inputs):
        return self.get(name, (outputs, inputs))

    def filters(self, name, outputs, inputs, size):
        return self.get(name, (outputs, inputs, size, size))

    def deconvolution(self, name, inputs, outputs, size):
        return self.get(name, (inputs, outputs, size, size))

    def from_map(self, name, outputs, channels, size):
        return self.get(name, (outputs, channels * size * size))

    def to_map(self, name, channels, size, inputs=None):
        return self.get(name, (channels * size * size, *([] if inputs is None else [inputs])))

    def all(self):
        return list(self.made.values())

    def to(self, dtype):
        self.made = {name: value.detach().to(dtype) for name, value in self.made.items()}


# One update of the CVAE-GAN, by the published recipe.


def critic(w, x, divisor, cap):
    said = networks.discriminator(w, x, divisor, cap)
    return said["src"].float().mean((1, 2, 3)), said["cls"].float(), [said[f"features.{nth}"] for nth in range(3)]


VIEWS = [lambda x: x, recipe.down]


class Update:
    """E, G, both critics and the frozen recognizer, as functions of their weights."""

    def __init__(self, e, g, d, fr, divisor, cap, lambda_gp=1.0):
        self.e, self.g, self.d, self.fr = e, g, d, fr
        self.divisor, self.cap, self.lambda_gp = divisor, cap, lambda_gp

    def make(self, x, c, encoding, prior):
        said = networks.encoder(self.e, x, self.divisor, False)
        mu, logvar = said["mu"].float(), said["logvar"].float()
        latents = torch.cat([mu + torch.exp(logvar / 2) * encoding, prior])
        made = networks.generator(self.g, latents, torch.cat([c, c]), self.divisor, x.shape[1])["image"]
        return made, mu, logvar

    def critic_loss(self, x, labels, made, share, chosen, full_precision=contextlib.nullcontext):
        rows, loss = len(x), 0
        fakes = made.detach()
        mixed_fake = (1 - chosen) * fakes[:rows] + chosen * fakes[rows:]
        for d, view in zip(self.d, VIEWS):
            values, logits, _ = critic(d, torch.cat([view(x), view(fakes)]), self.divisor, self.cap)
            gain = values[:rows].mean() - 0.5 * (values[rows : 2 * rows].mean() + values[2 * rows :].mean())
            with full_precision():
                between = share * view(x).float() + (1 - share) * view(mixed_fake).float()
                between.requires_grad_()
                value = critic(d, between, self.divisor, self.cap)[0].sum()
                slope = torch.autograd.grad(value, between, create_graph=True)[0]
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            loss = loss - gain + self.lambda_gp * penalty + F.cross_entropy(logits[:rows], labels)
        return loss

    def generator_loss(self, x, labels, made, mu, logvar):
        rows = len(x)
        x_e, x_r = made[:rows], made[rows:]
        adversarial = classification = matching = 0
        for d, view in zip(self.d, VIEWS):
            with torch.no_grad():
                real = critic(d, view(x), self.divisor, self.cap)[2]
            values, logits, features = critic(d, view(made), self.divisor, self.cap)
            adversarial = adversarial - 0.5 * (values[:rows].mean() + values[rows:].mean())
            classification = classification + F.cross_entropy(logits[:rows], labels) + F.cross_entropy(logits[rows:], labels)
            matching = matching + sum(recipe.mean_abs(f[:rows], r) + recipe.mean_abs(f[rows:], r) for f, r in zip(features, real))
        kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1).mean()
        see = lambda x: networks.light_cnn(self.fr, (x + 1) / 2, self.divisor, "lightcnn-9")["feature"]
        with torch.no_grad():
            real = see(x)
        seen = see(made)
        identity = recipe.mean_abs(seen[:rows], real) + recipe.mean_abs(seen[rows:], real)
        return adversarial + classification + matching + 10 * recipe.mean_abs(x, x_e) + 0.01 * kl + identity

    def generator_weights(self):
        return self.e.all() + self.g.all()

    def critic_weights(self):
        return self.d[0].all() + self.d[1].all()


def check():
    """Both losses against cvae-gan/reference/expected.json, in float64."""

    class Formula(Parameters):
        def __init__(self, prefix):
            super().__init__(classes=3)
            self.prefix = prefix

        def get(self, name, dims, arranged=lambda value: value):
            if name not in self.made:
                value = recipe.uniform(self.prefix + name, dims)
                if name.endswith("scale"):
                    value = 1 + 0.1 * value
                elif len(dims) == 1:
                    value = 0.1 * value
                else:
                    value = math.sqrt(6 / (math.prod(dims) / dims[0])) * value
                self.made[name] = arranged(value).contiguous().requires_grad_()
            return self.made[name]

        def filters(self, name, outputs, inputs, size):
            return self.get(name, (outputs, size, size, inputs), lambda v: v.permute(0, 3, 1, 2))

        def deconvolution(self, name, inputs, outputs, size):
            return self.get(name, (inputs, size, size, outputs), lambda v: v.permute(0, 3, 1, 2))

        def from_map(self, name, outputs, channels, size):
            to_torch = lambda v: v.reshape(outputs, size, size, channels).permute(0, 3, 1, 2).reshape(outputs, -1)
            return self.get(name, (outputs, size * size * channels), to_torch)

        def to_map(self, name, channels, size, inputs=None):
            dims = (size * size * channels, *([] if inputs is None else [inputs]))
            return self.get(name, dims, lambda v: v.reshape(size, size, channels, -1).permute(2, 0, 1, 3).reshape(dims))

    torch.set_default_dtype(torch.float64)
    # `.float()` of a double would halve its digits.
    single, torch.Tensor.float = torch.Tensor.float, lambda tensor: tensor
    d = [Formula("d1."), Formula("d2.")]
    update = Update(Formula("encoder."), Formula("generator."), d, Formula("recognizer."), DIVISOR["tiny"], 512)
    x = recipe.uniform("x", (2, 128, 128, 1)).permute(0, 3, 1, 2)
    labels = torch.tensor([2, 0])
    c = F.one_hot(labels, 3).double()
    made, mu, logvar = update.make(x, c, recipe.uniform("encoding", (2, LATENT)), recipe.uniform("prior", (2, LATENT)))
    share = (recipe.uniform("real share", (2, 1, 1, 1)) + 1) / 2
    chosen = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    expected = json.loads((ROOT / "cvae-gan/reference/expected.json").read_text())["paper"]["terms"]
    losses = {
        "loss_d": update.critic_loss(x, labels, made, share, chosen),
        "loss_eg": update.generator_loss(x, labels, made, mu, logvar),
    }
    for name, loss in losses.items():
        if abs(loss.item() - expected[name]) > 1e-9 * abs(expected[name]):
            sys.exit(f"{name}: expected {expected[name]}, found {loss.item()}; the update here isn't the program's")
    torch.set_default_dtype(torch.float32)
    torch.Tensor.float = single


# Timing.


class Mode:
    def __init__(self, name, device):
        self.name, self.device = name, device
        self.half = "bf16" in name
        self.layout = torch.contiguous_format if name in ("f32", "tf32") else torch.channels_last
        self.graphs = name.startswith("graphs")
        self.compiled = self.graphs or name.startswith("compile")

    def autocast(self):
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16) if self.half else contextlib.nullcontext()

    def full_precision(self):
        return torch.autocast(self.device.split(":")[0], enabled=False)

    def compile(self, function):
        if not self.compiled:
            return function
        return torch.compile(function, mode="reduce-overhead" if self.graphs else "default")

    def begin(self):
        """What CUDA graphs made in the run before may be overwritten."""
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()

    def images(self, batch, low):
        x = torch.rand(batch, 1, 128, 128, device=self.device) * (1 - low) + low
        return x.contiguous(memory_format=self.layout)

    def parameters(self, classes, learns=True):
        return Parameters(classes, self.device, self.layout, learns=learns)


def forward(mode, batch, classes, network, inputs):
    """Inference, everything in the mode's number type."""
    w = mode.parameters(classes, learns=False)
    with torch.inference_mode():
        network(w, *inputs)
        if mode.half:
            w.to(torch.bfloat16)
            w.made = {n: v.contiguous(memory_format=mode.layout) if v.dim() == 4 else v for n, v in w.made.items()}
            inputs = [x.bfloat16() for x in inputs]
        compiled = mode.compile(lambda *inputs: network(w, *inputs))
    def run():
        mode.begin()
        with torch.inference_mode():
            compiled(*inputs)
    return run


def generator(mode, batch, divisor, classes):
    z = torch.randn(batch, LATENT, device=mode.device)
    c = torch.full((batch, classes), 1 / classes, device=mode.device)
    return forward(mode, batch, classes, lambda w, z, c: networks.generator(w, z, c, divisor, 1)["image"], [z, c])


def encoder(mode, batch, divisor, classes):
    x = mode.images(batch, -1)
    return forward(mode, batch, classes, lambda w, x: networks.encoder(w, x, divisor, False)["mu"], [x])


def recognizer(mode, batch, divisor, classes, kind):
    x = mode.images(batch, 0)
    return forward(mode, batch, classes, lambda w, x: networks.light_cnn(w, x, divisor, kind)["feature"], [x])


def recognizer_step(mode, batch, divisor, classes, kind):
    w, x = mode.parameters(classes), mode.images(batch, 0)
    labels = torch.arange(batch, device=mode.device) % classes
    with torch.no_grad():
        networks.light_cnn(w, x, divisor, kind)
    optimizer = torch.optim.SGD(w.all(), 1e-4, momentum=0.9, weight_decay=1e-4)
    compiled = mode.compile(lambda x: networks.light_cnn(w, x, divisor, kind)["logits"])

    def step():
        mode.begin()
        with mode.autocast():
            loss = F.cross_entropy(compiled(x).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(w.all(), 1e9)
        optimizer.step()
        return loss.item()

    return step


def update_step(mode, batch, divisor, classes):
    e, g, d1, d2 = (mode.parameters(classes) for _ in range(4))
    update = Update(e, g, [d1, d2], mode.parameters(classes, learns=False), divisor, 512)
    x = mode.images(batch, -1)
    labels = torch.arange(batch, device=mode.device) % classes
    c = F.one_hot(labels, classes).float()
    share = torch.rand(batch, 1, 1, 1, device=mode.device)
    chosen = torch.rand(batch, 1, 1, 1, device=mode.device).round()
    normal = lambda: torch.randn(batch, LATENT, device=mode.device)
    with torch.no_grad():
        made, mu, logvar = update.make(x, c, normal(), normal())
        for w, view in zip((d1, d2), VIEWS):
            critic(w, view(x), divisor, 512)
        update.generator_loss(x, labels, made, mu, logvar)
    of_critics = torch.optim.Adam(update.critic_weights(), 1e-6, (0.5, 0.999))
    of_generator = torch.optim.Adam(update.generator_weights(), 1e-6, (0.5, 0.999))
    make, generator_loss = mode.compile(update.make), mode.compile(update.generator_loss)

    def step():
        mode.begin()
        with mode.autocast():
            made, mu, logvar = make(x, c, normal(), normal())
            loss = update.critic_loss(x, labels, made, share, chosen, mode.full_precision)
        of_critics.zero_grad()
        loss.backward()
        of_critics.step()
        for w in update.critic_weights():
            w.requires_grad_(False)
        with mode.autocast():
            loss = generator_loss(x, labels, made, mu, logvar)
        of_generator.zero_grad()
        loss.backward()
        of_generator.step()
        for w in update.critic_weights():
            w.requires_grad_(True)
        return loss.item()

    return step


WORKS = {
    "generator": generator,
    "encoder": encoder,
    "lightcnn-9": lambda *shape: recognizer(*shape, "lightcnn-9"),
    "lightcnn-29": lambda *shape: recognizer(*shape, "lightcnn-29"),
    "lightcnn-9 step": lambda *shape: recognizer_step(*shape, "lightcnn-9"),
    "lightcnn-29 step": lambda *shape: recognizer_step(*shape, "lightcnn-29"),
    "cvae-gan step": update_step,
}


def images_per_second(run, batch, seconds, device):
    settle = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    run()
    settle()
    began, runs = time.perf_counter(), 0
    while runs == 0 or time.perf_counter() - began < seconds:
        run()
        settle()
        runs += 1
    return runs * batch / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description="The networks and steps of bench-networks in PyTorch")
    parser.add_argument("--width", default="small", choices=DIVISOR)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--classes", type=int, default=530)
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on each figure")
    parser.add_argument("--threads", type=int, help="default: PyTorch's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--modes", default="f32,f32-cl,bf16-cl")
    parser.add_argument("--work", default=",".join(WORKS), help="default: all")
    parser.add_argument("--unchecked", action="store_true", help="skip holding the update against its reference")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    torch.backends.cudnn.benchmark = True
    if not asked.unchecked:
        check()
    for work in asked.work.split(","):
        for name in asked.modes.split(","):
            torch.manual_seed(1)
            torch.compiler.reset()
            mode = Mode(name, asked.device)
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name != "f32"
            line = {"work": work, "mode": name, "batch": asked.batch}
            try:
                run = WORKS[work](mode, asked.batch, DIVISOR[asked.width], asked.classes)
                line["images_per_second"] = images_per_second(run, asked.batch, asked.seconds, asked.device)
            except Exception as error:
                line["failed"] = str(error).splitlines()[0][:200]
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
