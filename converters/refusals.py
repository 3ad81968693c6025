"""What is not supported is refused in one line, with what to do instead."""

from typing import NoReturn

from .errors import ConversionError

_HINT = (
    "supported are Linear, Conv1d/2d, BatchNorm1d/2d, average and maximum pooling, Flatten, Dropout, Identity, ReLU, "
    "ReLU6, LeakyReLU, PReLU, sums, joins (cat), slices, padding, and arithmetic with constants; write the layer in "
    "terms of these"
)
_BOUNDED = "spiking rates follow ReLU, which is unbounded above and 0 below; train with ReLU instead"
_KEPT = (
    "it cuts activations off elsewhere than ReLU (0) and ReLU6 (0 and a number above) do; train with one of these "
    "(clamp(min=0), which is ReLU, is read)"
)
_SIGN = (
    "between layers, train with ReLU instead; behind the last layer, convert the network without it: an output above 0 "
    "is above 0.5 behind it"
)
DROPS_OUT = "it drops out in evaluation too; write training=self.training, and call model.eval() before exporting"
_DECIDES = "it decides by the values it gets; write torch.relu(x) for what is x above 0 and 0 below"
_WHOLE = "it rounds to whole numbers, and steps are no sums of ReLU; leave it out, or train with ReLU"
_OVERWRITES = "it writes into a tensor that is there already; make a new one (out of place)"
_PROBABILITIES = "convert the network without it: the largest output stays the largest"
_STATISTICS = "it normalises by each input's own statistics, which no weights can hold; train with BatchNorm instead"
_INSTEAD = {
    **dict.fromkeys(("hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "threshold", "minimum"), _KEPT),
    **dict.fromkeys(("sigmoid", "logsigmoid"), _SIGN),
    **dict.fromkeys(("maximum", "max", "amax"), "only the maximum with 0 is ReLU; of a and b it is a + relu(b - a)"),
    **dict.fromkeys(("gt", "lt", "ge", "le", "where", "sign", "heaviside", "masked_fill"), _DECIDES),
    **dict.fromkeys(("tanh", "elu"), _BOUNDED),
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "floor_divide", "fix"), _WHOLE),
    **dict.fromkeys(("copy", "fill", "zero", "index_put", "index_add", "setitem"), _OVERWRITES),
    **dict.fromkeys(
        ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout"), DROPS_OUT
    ),
    **dict.fromkeys(
        ("gelu", "silu", "mish", "softplus", "hardswish", "softsign", "hardsigmoid", "selu", "celu"), _BOUNDED
    ),
    **dict.fromkeys(("softmax", "logsoftmax", "log_softmax", "_softmax", "_log_softmax"), _PROBABILITIES),
    **dict.fromkeys(("layernorm", "groupnorm", "layer_norm", "group_norm", "localresponsenorm"), _STATISTICS),
    **dict.fromkeys(("instancenorm1d", "instancenorm2d", "instance_norm"), _STATISTICS),
}


def refuse(where: str, kind: str) -> NoReturn:
    """Raise `ConversionError` for something that is not supported, with what to do instead."""
    raise ConversionError(f"{where} is not supported: {_INSTEAD.get(kind.lower().rstrip('_'), _HINT)}")
