"""What calls of functions and methods of torch do, by name, where the reader treats several alike."""

import torch

PASSED = ("contiguous", "detach", "type_as")
CASTS = {
    "float": torch.float32,
    "double": torch.float64,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "int": torch.int32,
    "long": torch.int64,
    "short": torch.int16,
    "byte": torch.uint8,
    "char": torch.int8,
    "bool": torch.bool,
}
DROPOUT_CALLS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
ARITHMETIC = {"truediv": "div", "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div"}
IN_PLACE = ("iadd", "isub", "imul", "itruediv")
VIEWS = (*PASSED, *CASTS, *DROPOUT_CALLS, "to", "type", "flatten", "view", "reshape")
