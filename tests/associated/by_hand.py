"""Associated Learning written out in numpy and float64 from the paper's equations, without autograd and without torch.

Layers are ``(name, W, b)`` with an activation after each: ELU in f, the logistic function in b, g and h.
"""

import numpy as np
from torch import nn


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def elu(z):
    return np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)


ACTIVATIONS = {
    "f": (elu, lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0)))),
    "b": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "g": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "h": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
}


def parameters(component):
    """Return the parameters of a torch component as numpy arrays of their own, by name."""
    return {name: p.detach().numpy().copy() for name, p in component.named_parameters()}


def layer_names(component, function):
    return [f"{function}.{i}" for i, module in enumerate(getattr(component, function)) if isinstance(module, nn.Linear)]


def forward(values, names, x):
    """Return the output of layers, and what `backward` needs."""
    activation, _ = ACTIVATIONS[names[0][0]]
    kept = []
    for name in names:
        z = x @ values[f"{name}.weight"].T + values[f"{name}.bias"]
        kept.append((name, x, z))
        x = activation(z)
    return x, kept


def backward(values, kept, d_y, gradients):
    """Return the gradient by the input, and put those by W and b into `gradients`: the chain rule, layer by layer."""
    for name, x, z in reversed(kept):
        d_z = d_y * ACTIVATIONS[name[0]][1](z)
        gradients[f"{name}.weight"] = d_z.T @ x
        gradients[f"{name}.bias"] = d_z.sum(0)
        d_y = d_z @ values[f"{name}.weight"]
    return d_y


def component_step(component, values, s_in, t_in):
    """Eq. 1, 3, 4, 5 and 6 of one component, and the gradients of Eq. 7.

    s_in ``[B, in]``, t_in ``[B, in]``, one row an instance; `component` only says which layers there are, their
    weights are `values`. Returns (s, t, losses, gradients by parameter name).
    """
    f, b, g, h = (layer_names(component, function) for function in "fbgh")
    s, f_kept = forward(values, f, s_in)
    bridged, b_kept = forward(values, b, s)
    t, g_kept = forward(values, g, t_in)
    decoded, h_kept = forward(values, h, t)
    losses = {"associated": ((bridged - t) ** 2).mean(), "autoencoder": ((decoded - t_in) ** 2).mean()}
    gradients = {}
    backward(values, f_kept, backward(values, b_kept, 2 * (bridged - t) / bridged.size, gradients), gradients)
    backward(values, g_kept, backward(values, h_kept, 2 * (decoded - t_in) / decoded.size, gradients), gradients)
    return s, t, losses, gradients


def adam_step(weight, mean, square, updates, rate, epsilon):
    """Return a weight after one step; `epsilon`: where ε = 1e-8 stands, as "torch" or "tensorflow" 1 has it."""
    if epsilon == "tensorflow":
        step = rate * np.sqrt(1 - 0.999**updates) / (1 - 0.9**updates)
        return weight - step * mean / (np.sqrt(square) + 1e-8)
    return weight - rate * (mean / (1 - 0.9**updates)) / (np.sqrt(square / (1 - 0.999**updates)) + 1e-8)


def train(network, batches, *, rate_at, weight_decay=0.0, epsilon="torch"):
    """Train a copy of the weights of a torch network; Adam (Kingma & Ba, 2015) with g and h at twice the rate.

    Returns (weights of each component by name, losses of each component on the last mini-batch).
    """
    values = [parameters(component) for component in network.components]
    means = [{name: np.zeros_like(v) for name, v in some.items()} for some in values]
    squares = [{name: np.zeros_like(v) for name, v in some.items()} for some in values]
    losses = []
    for k, (x, y) in enumerate(batches):
        s, t = x.numpy(), np.eye(network.classes)[y.numpy()]
        losses = []
        for i, component in enumerate(network.components):
            s, t, found, gradients = component_step(component, values[i], s, t)
            losses.append(found)
            for name, gradient in gradients.items():
                gradient = gradient + weight_decay * values[i][name]
                means[i][name] = 0.9 * means[i][name] + 0.1 * gradient
                squares[i][name] = 0.999 * squares[i][name] + 0.001 * gradient**2
                rate = rate_at(k) * (2 if name[0] in "gh" else 1)
                values[i][name] = adam_step(values[i][name], means[i][name], squares[i][name], k + 1, rate, epsilon)
    return values, losses
