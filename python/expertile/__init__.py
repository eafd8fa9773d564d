"""Expertile in Python: Mixture-of-Experts language models with NSP-blocked prefill.

A thin client of the C++ library: what is said of an option, checked or computed here is said,
checked and computed there. docs/python.md walks through it.
"""

from expertile import dispatch, log
from expertile._core import (
    CompiledProgram,
    EncodedImage,
    Model,
    ModelDescription,
    Program,
    SamplingOptions,
    TextStream,
    Tokenizer,
)
from expertile._core import version as __version__
from expertile.auto import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    QEFFAutoModelForCausalLM,
    QEFFAutoModelForImageTextToText,
)
from expertile.chat import Chat
from expertile.errors import Error, ErrorCode
from expertile.generation import Generation, sampling
from expertile.experts import Experts, moe
from expertile.named_io import InferenceSession, QAICInferenceSession
from expertile.options import options, targets
from expertile.profile import Profile
from expertile.sessions import Session

__all__ = [
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "Chat",
    "CompiledProgram",
    "EncodedImage",
    "Error",
    "ErrorCode",
    "Generation",
    "InferenceSession",
    "Model",
    "ModelDescription",
    "Profile",
    "Program",
    "QAICInferenceSession",
    "QEFFAutoModelForCausalLM",
    "QEFFAutoModelForImageTextToText",
    "SamplingOptions",
    "Session",
    "TextStream",
    "Tokenizer",
    "__version__",
    "Experts",
    "dispatch",
    "log",
    "moe",
    "options",
    "sampling",
    "targets",
]

log.start()
