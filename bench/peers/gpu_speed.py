"""Times MoE layers and whole models in torch on a GPU, as gpu_compare.py asks: a line of JSON in, a line out.

A process of its own, so that what it holds of the GPU's memory is freed with it.
"""

import json
import statistics
import sys
import time

import torch


class Clock:
    """Times on the device, by its events; the host's clock where there is none."""

    def __init__(self, device):
        self.is_gpu = device == "cuda"

    def milliseconds(self, work, runs):
        """Median of `runs`, after two that warm up."""
        times = [self._once(work) for _ in range(runs + 2)][2:]
        return statistics.median(times)

    def _once(self, work):
        if not self.is_gpu:
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) * 1e3
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end)


def routing_of(tokens, num_experts, experts_per_token, device):
    """Ids [T,K] and weights [T,K]: near-uniform."""
    scores = torch.softmax(torch.randn(tokens, num_experts, device=device), -1)
    weights, ids = torch.topk(scores, experts_per_token)
    return ids, (weights / weights.sum(-1, keepdim=True)).bfloat16()


class GroupedProducts:
    """torch's grouped product alone: sort, gather, two products, sum."""

    def __init__(self, gate_up, down):
        self.gate_up = gate_up.transpose(-2, -1)  # [E,H,2I]
        self.down = down.transpose(-2, -1)  # [E,I,H]

    def __call__(self, x, ids, weights):
        order = torch.argsort(ids.flatten())
        counts = torch.bincount(ids.flatten(), minlength=self.down.shape[0])
        ends = torch.cumsum(counts, 0).int()
        tokens = order // ids.shape[1]
        gate, up = torch._grouped_mm(x[tokens], self.gate_up, offs=ends).chunk(2, -1)
        rows = torch._grouped_mm(torch.nn.functional.silu(gate) * up, self.down, offs=ends)
        out = torch.empty_like(rows)
        out[order] = rows * weights.flatten()[order, None]
        return out.view(*ids.shape, -1).sum(1)


def transformers_experts(shape, gate_up, down):
    from transformers import Qwen3MoeConfig
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

    num_experts, experts_per_token, hidden_size, intermediate_size = shape
    config = Qwen3MoeConfig(
        hidden_size=hidden_size,
        moe_intermediate_size=intermediate_size,
        num_experts=num_experts,
        num_experts_per_tok=experts_per_token,
    )
    config._experts_implementation = "grouped_mm"
    with torch.device("meta"):
        experts = Qwen3MoeExperts(config)
    experts.gate_up_proj = torch.nn.Parameter(gate_up, requires_grad=False)
    experts.down_proj = torch.nn.Parameter(down, requires_grad=False)
    return experts.eval()


def liger_experts(gate_up, down):
    from liger_kernel.ops.fused_moe import LigerFusedMoEFunction

    return lambda x, ids, weights: LigerFusedMoEFunction.apply(x, gate_up, down, ids.int(), weights)


class Layer:
    """One shape's weights, and the implementations over them."""

    def __init__(self, shape, device):
        num_experts, _, hidden_size, intermediate_size = self.shape = shape
        self.device = device

        def weights(*sizes):
            return torch.randn(*sizes, device=device, dtype=torch.bfloat16) * 0.02

        gate_up = weights(num_experts, 2 * intermediate_size, hidden_size)
        down = weights(num_experts, hidden_size, intermediate_size)
        self.makers = {
            "grouped_mm": lambda: GroupedProducts(gate_up, down),
            "transformers": lambda: transformers_experts(shape, gate_up, down),
            "liger": lambda: liger_experts(gate_up, down),
        }
        self.made = {}

    def milliseconds(self, implementation, tokens, runs):
        num_experts, experts_per_token, hidden_size, _ = self.shape
        torch.manual_seed(tokens)
        x = torch.randn(tokens, hidden_size, device=self.device, dtype=torch.bfloat16)
        ids, weights = routing_of(tokens, num_experts, experts_per_token, self.device)
        experts = self.made.get(implementation) or self.makers[implementation]()
        self.made[implementation] = experts
        return Clock(self.device).milliseconds(lambda: experts(x, ids, weights), runs)


class Model:
    """A configuration with random weights in bfloat16."""

    def __init__(self, config, layers, device):
        from transformers import AutoConfig, AutoModelForCausalLM

        with open(config, encoding="utf-8") as file:
            fields = json.load(file)
        if layers:
            fields["num_hidden_layers"] = layers
        how = {"attn_implementation": "sdpa", "experts_implementation": "grouped_mm"}
        made = AutoConfig.for_model(fields.pop("model_type"), **fields, **how)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(device):
            self.model = AutoModelForCausalLM.from_config(made, **how).eval()
        for parameter in self.model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.02)
            else:
                parameter.data.fill_(1)
        torch.set_default_dtype(torch.float32)
        self.device = device

    def milliseconds(self, tokens, decode_tokens, runs):
        clock = Clock(self.device)
        ids = torch.randint(0, self.model.config.vocab_size, (1, tokens), device=self.device)
        state = {}

        def prefill():
            state["output"] = self.model(ids, logits_to_keep=1, use_cache=True)

        def decode():
            past = state["output"].past_key_values
            state["output"] = self.model(ids[:, :1], past_key_values=past, use_cache=True)

        times = {"prefill": clock.milliseconds(prefill, runs)}
        times["decode"] = clock.milliseconds(decode, decode_tokens)
        return times


class Worker:
    def __init__(self, device):
        self.device = device
        self.layer = None
        self.model = None

    def roofs(self, size, copied_bytes, runs):
        """The dense product of size^3, TFLOP/s; and a copy's bytes read and written, GB/s."""
        clock = Clock(self.device)
        a, b = (torch.randn(size, size, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        dense = 2 * size**3 / clock.milliseconds(lambda: a @ b, runs) * 1e-9
        source = torch.randint(0, 255, (copied_bytes,), device=self.device, dtype=torch.uint8)
        target = torch.empty_like(source)
        copy = 2 * copied_bytes / clock.milliseconds(lambda: target.copy_(source), runs) * 1e-6
        name = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {"device": name, "dense_tflops": dense, "copy_gbs": copy}

    def moe(self, shape, implementation, tokens, runs):
        if self.layer is None or self.layer.shape != shape:
            self.layer = None  # first the memory
            self.layer = Layer(shape, self.device)
        return {"milliseconds": self.layer.milliseconds(implementation, tokens, runs)}

    def model_step(self, config, layers, tokens, decode_tokens, runs):
        if self.model is None:
            self.model = Model(config, layers, self.device)
        return self.model.milliseconds(tokens, decode_tokens, runs)


def main():
    torch.manual_seed(0)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with torch.no_grad():
                result = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # the peer does not run here: said, and the others go on
            result = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
