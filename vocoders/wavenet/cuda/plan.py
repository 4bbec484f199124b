"""How a WaveNet is laid out on a GPU: the constants with which cuda/wavenet.cu is compiled, and its weights in that order.

Four regimes. *latency*: one stream as fast as can be, shared by the blocks of a cluster where the GPU has clusters, each block
with its part of the weights in shared memory. *specialised*: the same with warps of one role each and no barriers, by another
kernel (specialised.h). *balanced*: as many streams as are asked for side by side, each as fast as can
be; the fewer they are, the more blocks share one. Sums have the order of *latency*, so samples depend neither on the number of
streams nor on the GPU. *throughput*: one block a multiprocessor, each with tens of streams, which the tensor cores multiply
together; weights pass through L2 once a sample for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

Precision = Literal["fp32", "fp16", "bf16"]
Regime = Literal["latency", "specialised", "balanced", "throughput"]

CHANNELS = 16  # numbers of channels are filled up to multiples of this, the side of a tensor core's tile
LINE = 128  # bytes, on which everything in shared memory begins
OUTPUTS = ("mulaw", "gaussian", "mol")
SHAPES = (
    (16, 1),
    (8, 1),
    (4, 1),
    (4, 2),
    (1, 1),
    (1, 2),
    (1, 4),
)  # blocks, streams: balanced, the fastest stream first


@dataclass(frozen=True)
class DeviceLimits:
    """What a GPU has: compute capability, bytes of shared memory that a block may take, blocks of a cluster (1: it has none),
    multiprocessors.
    """

    capability: tuple[int, int]
    shared: int
    cluster: int = 1
    processors: int = 1

    def __str__(self) -> str:
        return f"compute capability {self.capability[0]}.{self.capability[1]}, {self.shared >> 10} KiB of shared memory"


@dataclass(frozen=True)
class Plan:
    """One way to run a network; everything that the compiler must know.

    blocks:   that share the work on `streams` streams, a power of two up to 16.
    lanes:    threads that share a dot product, where no tensor core does.
    fetch:    whether what a sample needs of the past waits in shared memory.
    resident: numbers of a block's weights in shared memory.
    roles:    warps of a block for the chain, for the output's layers and for what is known ahead; specialised only.
    """

    config: WaveNetConfig
    precision: Precision
    blocks: int
    streams: int
    threads: int
    lanes: int
    tensor: bool
    fetch: bool
    resident: int = 0
    roles: tuple[int, int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes of a weight and of an activation."""
        return 4 if self.precision == "fp32" else 2

    @cached_property
    def constants(self) -> dict[str, int]:
        """The compiler's -D options."""
        c = self.config
        return {
            **{"LAYERS": c.layers, "CYCLE": c.dilation_cycle, "RESIDUAL": filled(c.residual), "SKIP": filled(c.skip)},
            **{"HIDDEN": filled(c.classes), "ENDS": filled(c.outputs), "BANDS": filled(c.mel.n_mels)},
            **{"OUTPUT": OUTPUTS.index(c.output), "OUTPUTS": c.outputs, "CLASSES": self.table_rows},
            **{"BITS": 8 * self.size, "BFLOAT": int(self.precision == "bf16"), "TENSOR": int(self.tensor)},
            **{"BLOCKS": self.blocks, "STREAMS": self.streams, "THREADS": self.threads, "LANES": self.lanes},
            **{"RESIDENT": self.resident, "FETCH": int(self.fetch), "SPECIALISED": int(self.roles is not None)},
            **dict(zip(("CHAIN_WARPS", "OUTPUT_WARPS", "AHEAD_WARPS"), self.roles or (), strict=False)),
            **{f"AT_{name.upper()}": place for name, place in self._memory[0].items()},
        }

    @property
    def table_rows(self) -> int:
        """Of each of the two embeddings."""
        return self.config.classes if self.config.output == "mulaw" else 1

    @property
    def shared(self) -> int:
        """Bytes of shared memory that a block takes."""
        return self._memory[1]

    @property
    def ring(self) -> int:
        """Numbers that a block keeps of the past of its streams."""
        return sum(self.config.dilations) * self.streams * filled(self.config.residual)

    @property
    def total(self) -> int:
        """Numbers of a block's weights."""
        c, units = self.config, filled(self.config.residual) // self.blocks
        residual, skip, hidden = filled(c.residual), filled(c.skip), filled(c.classes)
        layer = self.rows(3 * units) * 2 * residual + self.rows(2 * units) * (residual + filled(c.mel.n_mels))
        layer += self.rows(skip // self.blocks) * residual
        out, end = self.rows(hidden // self.blocks) * skip, self.rows(filled(c.outputs) // self.blocks) * hidden
        return c.layers * layer + out + end + 2 * self.table_rows * residual

    def rows(self, count: int) -> int:
        """Of a block's part of a matrix."""
        return filled(count) if self.tensor else count

    @cached_property
    def _memory(self) -> tuple[dict[str, int], int]:
        """Where everything begins in shared memory, and where it ends, in bytes."""
        c, n, size, gap = self.config, self.streams, self.size, 16
        residual, skip, hidden, ends = (filled(x) for x in (c.residual, c.skip, c.classes, c.outputs))
        units, bands = residual // self.blocks, filled(c.mel.n_mels)
        if self.roles:
            return _placed(
                {
                    "slots": c.layers * 2 * residual * size,
                    "embedded": self.roles[0] * 2 * residual * size,
                    "ahead": 2 * c.layers * units * 2 * 4,
                    "skipped": skip * size,
                    "between": hidden * size,
                    "logits": ends * 4,
                    "signals": (c.layers + 4) * 8,
                    "resident": self.resident * size,
                }
            )
        tallest = self.rows(max(3 * units, *(x // self.blocks for x in (skip, hidden, ends))))
        past = c.layers * n * (residual * size + gap) + n * (bands * size + gap)
        return _placed(
            {
                "xz": 3 * n * (2 * residual * size + gap),
                "ahead": 3 * 2 * units * n * 4,
                "kept": 2 * units * n * 4,
                "skip": max(skip // self.blocks, ends) * n * 4,
                "skipped": n * (skip * size + gap),
                "between": n * (hidden * size + gap),
                "past": past if self.fetch else 0,
                "scratch": tallest * n * 4 if self.tensor else 0,
                "last": 2 * n * 4,
                "resident": self.resident * size,
            }
        )


def _placed(bytes_of: dict[str, int]) -> tuple[dict[str, int], int]:
    """Where each begins, one after the other, and where the last ends."""
    places, end = {}, 0
    for name, count in bytes_of.items():
        places[name] = end
        end += -(-count // LINE) * LINE
    return places, end


def filled(channels: int) -> int:
    """Up to the next multiple of CHANNELS."""
    return -(-channels // CHANNELS) * CHANNELS


def make_plan(
    config: WaveNetConfig, precision: Precision, regime: Regime, limits: DeviceLimits, streams: int = 1
) -> Plan:
    """The best way to run a network on a GPU; see `plans`. Raises M2MError where there is none."""
    return next(plans(config, precision, regime, limits, streams))


def plans(
    config: WaveNetConfig, precision: Precision, regime: Regime, limits: DeviceLimits, streams: int = 1
) -> Iterator[Plan]:
    """The ways to run a network on a GPU, best first: `make_plan`, and what to try where its cluster finds no room.

    streams: that are to run side by side, in the balanced regime.
    Raises M2MError where there is none.
    """
    if precision not in get_args(Precision):
        raise M2MError(f"precision {precision!r} came, the CUDA engine has {', '.join(get_args(Precision))}.")
    if limits.capability < (7, 0):
        raise M2MError(f"the GPU has {limits}; the CUDA engine wants compute capability 7.0 or more.")
    if precision == "bf16" and limits.capability < (8, 0):
        raise M2MError(f"the GPU has {limits}; bf16 wants compute capability 8.0 or more: use fp16 or fp32.")
    if regime == "specialised" and limits.cluster == 1:
        raise M2MError(f"the GPU has {limits}; the specialised regime wants clusters, of 9.0 or later.")
    least, found = 0, False
    for plan in _candidates(config, precision, regime, limits, streams):
        least = min(least or plan.shared, plan.shared)
        if plan.shared <= limits.shared:
            found = True
            room = (limits.shared - plan.shared) // LINE * LINE // plan.size
            yield replace(plan, resident=min(room, plan.total))
    if not found:
        raise M2MError(
            f"this WaveNet ({config.layers} layers, {config.residual} residual, {config.skip} skip channels) "
            f"needs {least >> 10} KiB of shared memory at {precision}, the GPU has {limits}: use engine=cpu."
        )


def _candidates(
    config: WaveNetConfig, precision: Precision, regime: Regime, limits: DeviceLimits, streams: int
) -> Iterator[Plan]:
    """Best first."""
    if regime == "throughput":
        if precision != "fp32":
            for together in (32, 16):
                yield Plan(config, precision, 1, together, 512, 8, tensor=True, fetch=False)
        for together in (16, 8, 4, 2, 1):
            yield Plan(config, precision, 1, together, 512, 8, tensor=False, fetch=False)
        return
    if regime == "specialised":
        yield from _specialised(config, precision, limits)
        return
    if regime == "latency":
        shapes = [(limits.cluster >> i, 1) for i in range(limits.cluster.bit_length())]
    else:
        possible = [(blocks, together) for blocks, together in SHAPES if blocks <= limits.cluster]
        roomy = [shape for shape in possible if limits.processors // shape[0] * shape[1] >= streams]
        shapes = roomy or possible[-1:]
    for blocks, together in shapes:
        threads = 256 if blocks > 1 else 512  # a block by itself has the more to do, and L2 to wait for
        for fetch in (True, False):
            yield Plan(config, precision, blocks, together, threads, 16, tensor=False, fetch=fetch)


def _specialised(config: WaveNetConfig, precision: Precision, limits: DeviceLimits) -> Iterator[Plan]:
    """Clusters of which each block's part of a layer can be stored to the others in words of 32 bits."""
    channels = [filled(count) for count in (config.residual, config.skip, config.classes)]
    for blocks in (16, 8, 4, 2):
        packed = [max(n for n in (4, 2, 1) if count // blocks % n == 0) for count in channels]
        chain = channels[0] // blocks // packed[0]
        if blocks <= limits.cluster and min(packed) * (4 if precision == "fp32" else 2) >= 4 and chain <= 16:
            roles = chain, 4, min(4, config.layers)
            yield Plan(config, precision, blocks, 1, 32 * sum(roles), 8, tensor=False, fetch=False, roles=roles)


# --- the weights ------------------------------------------------------------------------------------------------------


def pack(model: WaveNet, plan: Plan) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Weights (blocks, total) in the plan's precision (bf16 as its bits), and biases float32, in wavenet.cu's order."""
    c, w = model.config, {name: x.detach().cpu().double().numpy() for name, x in model.state_dict().items()}
    residual, skip, hidden = filled(c.residual), filled(c.skip), filled(c.classes)
    ends, bands = filled(c.outputs), filled(c.mel.n_mels)
    parts: list[NDArray[Any]] = []
    gate_biases, res_biases, skip_bias = [], [], np.zeros(skip)
    before = np.zeros((residual, residual)), np.zeros(residual)  # W_res and its bias of the layer below
    for layer in range(c.layers):

        def of(name: str, *shape: int, layer: int = layer) -> NDArray[Any]:
            return _padded(w[f"layers.{layer}.{name}"], *shape)

        def halves(name: str, columns: int, layer: int = layer) -> NDArray[Any]:
            """(2 R, columns) of the network, a's rows and then b's -> (residual, 2, columns)."""
            both = np.split(w[f"layers.{layer}.{name}"], 2)
            return np.stack([_padded(half, residual, columns) for half in both], axis=1)

        cur, (res, res_bias) = halves("cur.weight", residual), before
        gates = np.concatenate([cur, cur @ res], axis=-1)  # (residual, 2, [x, z])
        kept = np.concatenate([np.zeros_like(res), res], axis=1)[:, None]
        ahead = np.concatenate([halves("prev.weight", residual), halves("cond.weight", bands)], axis=-1)
        parts += [_shares(plan, np.concatenate([gates, kept], axis=1)), _shares(plan, ahead)]
        parts.append(_shares(plan, of("skip.weight", skip, residual)[:, None]))
        bias = np.stack([_padded(half, residual) for half in np.split(w[f"layers.{layer}.bias"], 2)], axis=1)
        gate_biases.append(bias + cur @ res_bias)
        res_biases.append(res_bias)
        skip_bias += of("skip.bias", skip)
        if layer < c.layers - 1:
            before = of("res.weight", residual, residual), of("res.bias", residual)
    parts.append(_shares(plan, _padded(w["out.weight"], hidden, skip)[:, None]))
    parts.append(_shares(plan, _padded(w["end.weight"], ends, hidden)[:, None]))
    if c.output == "mulaw":
        tables, embed_bias = (w["embed_cur.weight"], w["embed_prev.weight"]), np.zeros(residual)
    else:
        tables, embed_bias = (
            (w["input_cur.weight"].T, w["input_prev.weight"].T),
            _padded(w["input_cur.bias"], residual),
        )
    for table in tables:
        parts.append(np.tile(_padded(table, plan.table_rows, residual).reshape(1, -1), (plan.blocks, 1)))
    biases = [
        *gate_biases,
        *res_biases,
        skip_bias,
        _padded(w["out.bias"], hidden),
        _padded(w["end.bias"], ends),
        embed_bias,
    ]
    weights = to_numbers(np.concatenate(parts, axis=1).astype(np.float32), plan.precision)
    return weights, np.concatenate([bias.ravel() for bias in biases]).astype(np.float32)


def _shares(plan: Plan, matrix: NDArray[Any]) -> NDArray[Any]:
    """(channels, rows a channel, columns) -> (blocks, numbers): each block its channels' rows, in tiles for tensor cores."""
    channels, bundle, columns = matrix.shape
    count = channels // plan.blocks * bundle
    shares = matrix.reshape(plan.blocks, count, columns)
    if plan.tensor:
        shares = np.pad(shares, ((0, 0), (0, plan.rows(count) - count), (0, 0)))
        shares = shares.reshape(plan.blocks, -1, CHANNELS, columns // CHANNELS, CHANNELS).swapaxes(2, 3)
    return shares.reshape(plan.blocks, -1)


def _padded(array: NDArray[Any], *shape: int) -> NDArray[Any]:
    return np.pad(array, [(0, wanted - there) for wanted, there in zip(shape, array.shape, strict=True)])


def to_numbers(x: NDArray[np.float32], precision: Precision) -> NDArray[Any]:
    """Numbers in the kernel's precision, rounded to the nearest, ties to even.

    x: float32 of any shape.

    Returns the same shape: float32, float16 (limited to its range), or bfloat16 as the bits of a uint16.
    """
    if precision == "fp32":
        return x
    if precision == "fp16":
        return np.clip(x, -65504, 65504).astype(np.float16)
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
