"""The experts implementation "nsp_blocked" of transformers 5: MoE models whose experts run on our kernels.

    import expertile.transformers
    model.set_experts_implementation("nsp_blocked")     # or experts_implementation= in from_pretrained

docs/python.md has the table of architectures. What does not fit raises an Error that says why.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Optional, Tuple, Union

import torch
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from expertile.errors import unsupported
from expertile.experts import Experts, NumNsp

NAME = "nsp_blocked"


@dataclasses.dataclass
class Settings:
    """How experts run, for all models of the process; a change packs weights anew."""

    num_nsp: NumNsp = "auto"
    packed_chunk_size: Union[int, str] = "auto"
    num_cores: int = 0
    # None: bfloat16 for models whose weights are bfloat16, else float32.
    dtype: Optional[str] = None


settings = Settings()


def configure(**changes: Any) -> None:
    """Changes the settings that are named: num_nsp, packed_chunk_size, num_cores, dtype."""
    for name, value in changes.items():
        if name not in {field.name for field in dataclasses.fields(Settings)}:
            raise TypeError(f"configure() got an unexpected keyword argument '{name}'")
        setattr(settings, name, value)


def _clamped_swiglu(gate: torch.Tensor, up: torch.Tensor, limit: float, alpha: float) -> torch.Tensor:
    gate = gate.clamp(max=limit)
    return (up.clamp(-limit, limit) + 1) * gate * torch.sigmoid(alpha * gate)


def _activation(module: torch.nn.Module) -> Optional[Tuple[float, float]]:
    """None for silu(gate) up, (limit, alpha) for GPT-OSS's: told by what the module makes of some values."""
    far = torch.tensor([30.0, 100.0, 300.0, 1e3, 1e4])  # beyond any limit that a model may have
    halves = torch.cat((torch.linspace(-24, 24, 97), far, -far))
    gate, up = (grid.reshape(-1) for grid in torch.meshgrid(halves, halves.flip(0), indexing="ij"))
    both = torch.stack((gate, up), -1).reshape(1, -1) if not module.is_concatenated else torch.cat((gate, up))[None]
    made = module._apply_gate(both)[0].float()
    if made.shape == gate.shape:
        if torch.allclose(made, torch.nn.functional.silu(gate) * up, rtol=1e-5, atol=1e-6):
            return None
        for prefix in ("", "swiglu_"):
            limit, alpha = (getattr(module, prefix + name, None) for name in ("limit", "alpha"))
            if limit is not None and alpha is not None:
                if torch.allclose(made, _clamped_swiglu(gate, up, limit, alpha), rtol=1e-5, atol=1e-6):
                    return float(limit), float(alpha)
    raise unsupported(f"{NAME}: {type(module).__name__}: its activation is neither silu(gate) up nor GPT-OSS's")


def why_not(module: torch.nn.Module) -> Optional[str]:
    """Why an experts module does not fit; None if it does."""
    if not module.has_gate:
        return "its experts have no gate"
    if getattr(module, "has_post_expert_norm", False):
        return "its experts end in a norm"
    if getattr(module, "_is_expert_parallel", False):
        return "it runs expert-parallel"
    weights = [module.gate_up_proj, module.down_proj]
    for weight in weights:
        if weight.device.type != "cpu":
            return f"its weights are on {weight.device}, and the kernels are this processor's"
        if weight.dtype not in (torch.float32, torch.bfloat16):
            return f"its weights are {weight.dtype}, expected float32 or bfloat16"
    return None


def _weights(module: torch.nn.Module) -> Dict[str, torch.Tensor]:
    named = {"gate_up": module.gate_up_proj, "down": module.down_proj}
    if module.has_bias:
        named.update(gate_up_bias=module.gate_up_proj_bias, down_bias=module.down_proj_bias)
    return named


def _packed(module: torch.nn.Module) -> Experts:
    """The module's experts, packed at the first run and whenever weights or settings have changed."""
    reason = why_not(module)
    if reason is not None:
        raise unsupported(f"{NAME}: {type(module).__name__}: {reason}")
    named = _weights(module)
    versions = [(tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in named.values()]
    key = (versions, dataclasses.astuple(settings))
    known = module.__dict__.get("_expertile_packed")
    if known is not None and known[0] == key:
        return known[1]  # type: ignore[no-any-return]
    module.__dict__.pop("_expertile_packed", None)
    dtype = settings.dtype or ("bfloat16" if module.gate_up_proj.dtype == torch.bfloat16 else "float32")
    experts = Experts(
        **named,
        is_transposed=module.is_transposed,
        is_concatenated=module.is_concatenated,
        clamped_swiglu=_activation(module),
        num_nsp=_num_nsp(module),
        packed_chunk_size=settings.packed_chunk_size,
        num_cores=settings.num_cores,
        dtype=dtype,
    )
    module.__dict__["_expertile_packed"] = (key, experts)
    return experts


def _num_nsp(module: torch.nn.Module) -> NumNsp:
    """At most as many as there are experts."""
    if isinstance(settings.num_nsp, int):
        return min(settings.num_nsp, int(module.gate_up_proj.shape[0]))
    return settings.num_nsp


class _Run(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """Computes; a gradient through it is refused rather than wrong."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, experts: Experts, ids: Any, scale: Any) -> Any:
        rows = hidden if hidden.dtype in (torch.float32, torch.bfloat16) else hidden.float()
        return experts(rows, ids, scale).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise unsupported(f"{NAME}: it has no gradient; use another experts implementation to train")


def nsp_blocked_experts_forward(
    self: torch.nn.Module, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """What transformers calls: hidden_states [T, H], top_k_index and top_k_weights [T, K]."""
    if hidden_states.shape[0] == 0:
        return torch.zeros_like(hidden_states)
    with torch.no_grad():
        experts = _packed(self)
    result: torch.Tensor = _Run.apply(hidden_states, self.gate_up_proj, experts, top_k_index, top_k_weights)
    return result


ALL_EXPERTS_FUNCTIONS.register(NAME, nsp_blocked_experts_forward)
