"""Whole losses of the CVAE-GAN and their gradients, by PyTorch in float64.

Writes expected.json: for five recipes the value of every term, and for every weight the norm of its
gradient and its product with a fixed probe. Weights, images and latents come from an integer
formula, so that nothing but results is kept. The gradient penalty and R1 are differentiated twice by
autograd, which the Rust side does not do.

    python make.py > expected.json        (PyTorch 2)
"""

import json
import math

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
CLASSES, BATCH, LATENT = 3, 2, 256
LABELS = torch.tensor([2, 0])


def uniform(name, dims):
    """Values in [-1, 1), a function of the name and the position."""
    seed = 2166136261
    for byte in name.encode():
        seed = ((seed ^ byte) * 16777619) % 2**32
    i = np.arange(math.prod(dims), dtype=np.uint64)
    mask = np.uint64(2**32 - 1)
    x = (i * np.uint64(2654435761) + np.uint64(seed)) & mask
    for _ in range(2):
        x ^= x >> np.uint64(16)
        x = (x * np.uint64(0x45D9F3B)) & mask
    x ^= x >> np.uint64(16)
    return torch.tensor(x.astype(np.float64) / 2**31 - 1).reshape(dims)


class Weights:
    """Parameters by name, made when first asked for."""

    def __init__(self, prefix, learns):
        self.prefix, self.learns, self.made = prefix, learns, {}

    def __call__(self, name, *dims):
        name = self.prefix + name
        if name not in self.made:
            value = uniform(name, dims)
            if name.endswith("scale"):
                value = 1 + 0.1 * value
            elif len(dims) == 1:
                value = 0.1 * value
            else:
                value = math.sqrt(6 / (math.prod(dims) / dims[0])) * value
            self.made[name] = value.requires_grad_(self.learns)
        return self.made[name]


class DividedWeights(Weights):
    """Those of a critic's values divided by their largest singular value, after a round of power iteration
    from a fixed start."""

    def __call__(self, name, *dims):
        weight = super().__call__(name, *dims)
        if not name.endswith("weight") or name == "cls.weight":
            return weight
        matrix = weight.flatten(1)
        with torch.no_grad():
            right = F.normalize(uniform(f"{self.prefix}{name}.right", matrix.shape[1:]), dim=0)
            left = F.normalize(matrix @ right, dim=0)
            right = F.normalize(left @ matrix, dim=0)
        return weight / (left @ matrix @ right)


def conv(x, w, stride, padding):
    return F.conv2d(x, w.permute(0, 3, 1, 2), stride=stride, padding=padding)


def norm(x, w, name):
    n = x.shape[1]
    return F.instance_norm(x, weight=w(name + ".scale", n), bias=w(name + ".shift", n), eps=1e-5)


def flat(x):
    return x.permute(0, 2, 3, 1).flatten(1)


def encoder(w, x):
    inputs = 1
    for nth, n in enumerate([8, 16, 32, 64]):
        name = f"blocks.{nth}"
        main = conv(x, w(f"{name}.conv1.weight", n, 3, 3, inputs), 2, 1)
        main = F.relu(norm(main, w, f"{name}.norm1"))
        main = norm(conv(main, w(f"{name}.conv2.weight", n, 3, 3, n), 1, 1), w, f"{name}.norm2")
        short = conv(F.avg_pool2d(x, 2), w(f"{name}.shortcut.weight", n, 1, 1, inputs), 1, 0)
        short = short + w(f"{name}.shortcut.bias", n)[:, None, None]
        x, inputs = F.relu(main + short), n
    moments = F.linear(flat(x), w("head.weight", 512, 64 * 64), w("head.bias", 512))
    return moments[:, :LATENT], moments[:, LATENT:]


def generator(w, z, c, every_layer):
    h = F.linear(torch.cat([z, c], 1), w("start.weight", 256, LATENT + CLASSES), w("start.bias", 256))
    h = F.relu(h).reshape(-1, 2, 2, 64).permute(0, 3, 1, 2)
    widths = [64, 64, 64, 32, 16, 8]
    for nth in range(5):
        weight = w(f"deconv{nth + 1}.weight", widths[nth], 4, 4, widths[nth + 1])
        h = F.conv_transpose2d(h, weight.permute(0, 3, 1, 2), stride=2, padding=1)
        if every_layer:
            n, name = widths[nth + 1], f"deconv{nth + 1}.norm"
            both = torch.cat([z, c], 1) @ w(name + ".weight", 2 * n, LATENT + CLASSES).T
            scale, shift = w(name + ".scale", n) + both[:, :n], w(name + ".shift", n) + both[:, n:]
            h = F.relu(F.instance_norm(h, eps=1e-5) * scale[:, :, None, None] + shift[:, :, None, None])
        else:
            h = F.relu(norm(h, w, f"deconv{nth + 1}.norm"))
    weight = w("deconv6.weight", 8, 4, 4, 1).permute(0, 3, 1, 2)
    return torch.tanh(F.conv_transpose2d(h, weight, w("deconv6.bias", 1), stride=2, padding=1))


ONE_HOTS = F.one_hot(LABELS, CLASSES).double()
# Shares of the batch's people in each row that is asked for a mixture, and how far it is led away from the mean label.
SHARES = torch.tensor([[0.5 + 0.125, 0.375], [0.0, 1.0]])
# The sum of their squares to the power of minus half a spread of 0.8.
REACH = torch.tensor([[(0.625**2 + 0.375**2) ** -0.4], [1.0]])


def led_away(rows, mean):
    return REACH * (SHARES @ rows) + (1 - REACH) * mean


def shared_cross_entropy(logits, shares):
    return -(F.log_softmax(logits, 1) * shares).sum(1).mean()


def critic(w, x, projection, labels=ONE_HOTS):
    """Values, logits and the features of the last three layers, of D^1 or, on half images, D^2. Images are
    of the batch's people, or of those of `labels`."""
    layers, inputs = [], 1
    for nth, n in enumerate([8, 16, 32, 64, 64, 64]):
        x = conv(x, w(f"conv{nth + 1}.weight", n, 4, 4, inputs), 2, 1)
        x = F.leaky_relu(x + w(f"conv{nth + 1}.bias", n)[:, None, None], 0.01)
        layers.append(x)
        inputs = n
    size = x.shape[-1]
    value = conv(x, w("src.weight", 1, 3, 3, 64), 1, 1).mean((1, 2, 3))
    if projection:
        value = value + (x.mean((2, 3)) @ w("projection.weight", CLASSES, 64).T * labels).sum(1)
    return value, conv(x, w("cls.weight", CLASSES, size, size, 64), 1, 0).flatten(1), layers[-3:]


def max_feature_map(x):
    a, b = x.chunk(2, 1)
    return torch.maximum(a, b)


def recognizer(w, x):
    """LightCNN-9: logits, feature, and the map behind each stage."""

    def layer(x, name, inputs, outputs, size):
        y = conv(x, w(f"{name}.filter.weight", 2 * outputs, size, size, inputs), 1, size // 2)
        return max_feature_map(y + w(f"{name}.filter.bias", 2 * outputs)[:, None, None])

    maps = [F.max_pool2d(layer(x, "features.0", 1, 6, 5), 2)]
    for stem, inputs, outputs, pool in [(2, 6, 12, True), (4, 12, 24, True), (6, 24, 16, False), (7, 16, 16, True)]:
        y = layer(maps[-1], f"features.{stem}.conv_a", inputs, inputs, 1)
        y = layer(y, f"features.{stem}.conv", inputs, outputs, 3)
        maps.append(F.max_pool2d(y, 2) if pool else y)
    feature = F.linear(flat(maps[-1]), w("fc1.filter.weight", 512, 1024), w("fc1.filter.bias", 512))
    feature = max_feature_map(feature)
    return F.linear(feature, w("fc2.weight", CLASSES, 256), w("fc2.bias", CLASSES)), feature, maps


def down(x):
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def perturbed(grey):
    """Two to the right, three up, blurred, contrast 0.8, brightness + 0.05."""
    size = grey.shape[-1]
    rows = (torch.arange(size) + 3).clamp(0, size - 1)
    columns = (torch.arange(size) - 2).clamp(0, size - 1)
    grey = grey[:, :, rows][:, :, :, columns]
    taps = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    grey = F.pad(grey, (2, 2, 2, 2), mode="replicate")
    grey = F.conv2d(grey, (taps[:, None] * taps[None])[None, None])
    return 0.8 * (grey - 0.5) + 0.5 + 0.05


# Brightness, contrast, pixels down and to the right, the middle of a square cut out.
CHANGES = [(0.3, 0.6, 5, -7, None), (-0.2, 1.4, -16, 3, (20, 100))]


def augmented(x, changes):
    size, copies = x.shape[-1], []
    for image, (brightness, contrast, down, right, cut) in zip(x, changes):
        image = image + brightness
        image = (image - image.mean()) * contrast + image.mean()
        moved = F.pad(image, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
        image = moved[:, max(-down, 0) :, max(-right, 0) :][:, :size, :size]
        if cut is not None:
            kept = torch.ones(size, size)
            rows, columns = (slice(max(middle - size // 4, 0), middle + size // 4) for middle in cut)
            kept[rows, columns] = 0
            image = image * kept
        copies.append(image)
    return torch.stack(copies)


GAMES = {
    "wasserstein": (lambda s: -s, lambda s: s),
    "hinge": (lambda s: F.relu(1 - s), lambda s: F.relu(1 + s)),
    "logistic": (lambda s: F.softplus(-s), F.softplus),
}


def mean_abs(a, b):
    return (a - b).abs().mean()


def cosine(a, b):
    return (1 - F.cosine_similarity(a, b)).mean()


def run(case):
    e, g = Weights("encoder.", True), Weights("generator.", True)
    kind = DividedWeights if case["spectral"] else Weights
    d = [kind("d1.", True), kind("d2.", True)]
    fr = Weights("recognizer.", False)
    x = uniform("x", (BATCH, 128, 128, 1)).permute(0, 3, 1, 2)
    c = case["label_length"] * ONE_HOTS
    c_r = led_away(c, case["label_length"] / CLASSES) if case["blended"] else c
    labels_r = SHARES @ ONE_HOTS if case["blended"] else ONE_HOTS
    terms = {}

    mu, logvar = encoder(e, x)
    z_e = mu + torch.exp(logvar / 2) * uniform("encoding", (BATCH, LATENT))
    z_r = uniform("prior", (BATCH, LATENT))
    if case["swap"]:
        borrowed = torch.tensor([[1.0], [0.0]])
        z_r = (1 - borrowed) * z_r + borrowed * z_e.roll(-1, 0)
    x_e, x_r = (generator(g, z, c, case["every_layer"]) for z, c in ((z_e, c), (z_r, c_r)))
    criticise = lambda k, x, labels=ONE_HOTS: critic(d[k], x, case["projection"], labels)
    seen = (lambda x: augmented(x, CHANGES)) if case["augment"] else (lambda x: x)
    seen_later = (lambda x: augmented(x, CHANGES[::-1])) if case["augment"] else (lambda x: x)
    of_real, of_fake = GAMES[case["game"]]

    # L_D.
    loss_d = 0
    share = (uniform("real share", (BATCH, 1, 1, 1)) + 1) / 2
    chosen = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    mixed_fake = (1 - chosen) * x_e.detach() + chosen * x_r.detach()
    for k, view in enumerate([seen, lambda x: down(seen(x))]):
        value, logits, _ = criticise(k, view(x))
        fakes = (x_e, ONE_HOTS), (x_r, labels_r)
        value_e, value_r = (criticise(k, view(fake.detach()), labels)[0] for fake, labels in fakes)
        weight = 1 if case["as_printed"] else 0.5
        gain = value.mean() - weight * (value_e.mean() + value_r.mean())
        game = of_real(value).mean() + weight * (of_fake(value_e).mean() + of_fake(value_r).mean())
        of_class = F.cross_entropy(logits, LABELS)
        loss_d = loss_d + game + of_class
        if case["lambda_gp"] > 0:
            between = (share * view(x) + (1 - share) * view(mixed_fake)).requires_grad_()
            slope = torch.autograd.grad(criticise(k, between)[0].sum(), between, create_graph=True)[0]
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            loss_d = loss_d + case["lambda_gp"] * penalty
            terms[f"penalty{k}"] = penalty
        if case["r1_gamma"] > 0:
            real = view(x).detach().requires_grad_()
            slope = torch.autograd.grad(criticise(k, real)[0].sum(), real, create_graph=True)[0]
            r1 = 0.5 * (slope.flatten(1) ** 2).sum(1).mean()
            # One step of sixteen has it, for all of them.
            loss_d = loss_d + 16 * case["r1_gamma"] * r1
            terms[f"r1{k}"] = r1
        if case["as_printed"]:
            loss_d = loss_d + 1e-3 * (value**2).mean()
        terms[f"gain{k}"], terms[f"critic_class{k}"] = gain, of_class
    critics = d[0].made | d[1].made
    gradients_d = torch.autograd.grad(loss_d, list(critics.values()), allow_unused=True)
    terms["loss_d"] = loss_d

    # L_EG.
    adversarial = classification = matching = 0
    for k, view in enumerate([seen_later, lambda x: down(seen_later(x))]):
        real = [f.detach() for f in criticise(k, view(x))[2]]
        (value_e, logits_e, made_e), (value_r, logits_r, made_r) = (
            criticise(k, view(f), labels) for f, labels in ((x_e, ONE_HOTS), (x_r, labels_r))
        )
        answer = F.softplus if case["game"] == "logistic" else (lambda s: s)
        weight = 1 if case["as_printed"] else 0.5
        adversarial = adversarial + weight * (answer(-value_e).mean() + answer(-value_r).mean())
        classification = classification + F.cross_entropy(logits_e, LABELS) + shared_cross_entropy(logits_r, labels_r)
        matching = matching + sum(mean_abs(a, b) for a, b in zip(made_e, real))
        if case["prior_mean"]:
            matching = matching + sum(mean_abs(a.mean(0), b.mean(0)) for a, b in zip(made_r, real))
        else:
            matching = matching + sum(mean_abs(a, b) for a, b in zip(made_r, real))
    pixel = mean_abs(x, x_e)
    kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1).mean()
    see = (lambda x: perturbed((x + 1) / 2)) if case["perturb"] else (lambda x: (x + 1) / 2)
    (_, real, real_maps) = recognizer(fr, see(x))
    (said_e, feature_e, maps_e), (said_r, feature_r, _) = (recognizer(fr, see(f)) for f in (x_e, x_r))
    if case["cosine"]:
        centres = uniform("centres", (CLASSES, 256))
        centres = led_away(centres[LABELS], centres.mean(0)) if case["blended"] else centres[LABELS]
        identity = cosine(feature_e, real) + cosine(feature_r, centres)
    else:
        identity = mean_abs(feature_e, real) + mean_abs(feature_r, real)
    verdict = F.cross_entropy(said_e, LABELS) + shared_cross_entropy(said_r, labels_r)
    maps = sum(mean_abs(a, b) / (b.abs().mean() + 1e-6) for a, b in zip(maps_e, real_maps)) / len(real_maps)
    identity = identity + case["verdict"] * verdict + case["maps"] * maps
    weights = case["weights"]
    values = [adversarial, classification, matching, pixel, kl, identity]
    names = ["adversarial", "classification", "feature_matching", "pixel", "kl", "identity"]
    beyond = F.relu(kl - case["free_nats"])
    loss_eg = sum(w * v for w, v in zip(weights, [beyond if name == "kl" else v for name, v in zip(names, values)]))
    terms.update(zip(names, values))
    terms["loss_eg"] = loss_eg
    made = e.made | g.made
    gradients_eg = torch.autograd.grad(loss_eg, list(made.values()))

    def summary(weights, gradients):
        def pair(name, gradient):
            return [gradient.norm().item(), (gradient * uniform("probe." + name, gradient.shape)).sum().item()]

        named = zip(weights, gradients)
        return {name: pair(name, gradient) for name, gradient in named if gradient is not None}

    return {
        "terms": {name: value.item() for name, value in terms.items()},
        "critic_gradients": summary(critics, gradients_d),
        "generator_gradients": summary(made, gradients_eg),
    }


PAPER = dict(
    label_length=1.0, swap=False, as_printed=False, lambda_gp=1.0, prior_mean=False, perturb=False, cosine=False,
    verdict=0.0, maps=0.0, weights=[1.0, 1.0, 1.0, 10.0, 0.01, 1.0],
    game="wasserstein", augment=False, every_layer=False, spectral=False, projection=False, r1_gamma=0.0,
    free_nats=0.0, blended=False,
)
OTHER = PAPER | dict(
    label_length=4.0, swap=True, as_printed=True, lambda_gp=10.0, prior_mean=True, perturb=True, cosine=True,
    verdict=0.3, maps=0.7, weights=[0.5, 0.2, 0.3, 10.0, 0.02, 0.4], free_nats=100.0,
)
MODERN = PAPER | dict(
    game="hinge", lambda_gp=0.0, augment=True, every_layer=True, spectral=True, projection=True,
    free_nats=600.0,  # More than there are, so that the divergence pulls nowhere.
)
LOGISTIC = PAPER | dict(game="logistic", lambda_gp=0.0, projection=True, r1_gamma=0.3)
BLENDED = PAPER | dict(
    blended=True, label_length=4.0, every_layer=True, projection=True, prior_mean=True, cosine=True, verdict=0.3,
)
if __name__ == "__main__":
    cases = dict(paper=PAPER, other=OTHER, modern=MODERN, logistic=LOGISTIC, blended=BLENDED)
    print(json.dumps({name: run(case) for name, case in cases.items()}, indent=1))
