"""Where modules and names of version 0.1 are now: the one table of them, and the import hook that serves it until 0.3.

An old path still works, with one M2MDeprecationWarning. Contracts and data that plugins are written against have not moved
(core/encoder.py, conditioner.py, vocoder.py, transcriber.py, score.py, mel.py, timbre.py, errors.py, testing/).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from m2m.core.errors import deprecated

# Old module -> the module that has its content now.
MODULES: dict[str, str] = {
    "m2m.core.batch": "m2m.core.rendering.batch",
    "m2m.core.config": "m2m.core.plugins.settings",
    "m2m.core.discovery": "m2m.core.plugins.discovery",
    "m2m.core.doctor": "m2m.core.plugins.doctor",
    "m2m.core.files": "m2m.core.system.files",
    "m2m.core.isolation": "m2m.core.plugins.isolation",
    "m2m.core.options": "m2m.core.plugins.options",
    "m2m.core.performance": "m2m.core.rendering.performance",
    "m2m.core.pipeline": "m2m.core.rendering.pipeline",
    "m2m.core.progress": "m2m.core.system.progress",
    "m2m.core.registry": "m2m.core.plugins.registry",
    "m2m.core.rerender": "m2m.core.rendering.rerender",
    "m2m.core.scaffold": "m2m.core.plugins.scaffold",
    "m2m.core.workers": "m2m.core.system.workers",
    "m2m.evaluation.compare": "m2m.evaluation.bench.compare",
    "m2m.evaluation.figures": "m2m.evaluation.bench.figures",
    "m2m.evaluation.frechet": "m2m.evaluation.measures.frechet",
    "m2m.evaluation.machine": "m2m.evaluation.bench.machine",
    "m2m.evaluation.metrics": "m2m.evaluation.measures.waves",
    "m2m.evaluation.musical": "m2m.evaluation.measures.against_score",
    "m2m.evaluation.opinions": "m2m.evaluation.listening.mos",
    "m2m.evaluation.plan": "m2m.evaluation.bench.plan",
    "m2m.evaluation.recordings": "m2m.evaluation.bench.recordings",
    "m2m.evaluation.report": "m2m.evaluation.bench.report",
    "m2m.evaluation.results": "m2m.evaluation.bench.results",
    "m2m.evaluation.speed": "m2m.evaluation.bench.speed",
    "m2m.evaluation.work": "m2m.evaluation.bench.cell",
    "m2m.training.average": "m2m.training.ema",
    "m2m.training.config": "m2m.core.system.run_config",
    "m2m.training.dataset": "m2m.dataset.build",
    "m2m.training.discriminator": "m2m.training.losses.adversarial",
    "m2m.training.divergence": "m2m.training.losses.kl",
    "m2m.training.spectral": "m2m.training.losses.stft",
    "m2m.training.start": "m2m.training.warm_start",
    "m2m.training.windows": "m2m.training.segments",
    "m2m.vocoders.comb": "m2m.vocoders.shared.excitation",
    "m2m.vocoders.conditioning": "m2m.vocoders.shared.conditioning",
    "m2m.vocoders.rests": "m2m.vocoders.shared.silence_gate",
    "m2m.vocoders.spectrum": "m2m.vocoders.shared.stft",
    "m2m.vocoders.wavenet.cpu_engine": "m2m.vocoders.wavenet.cpu.engine",
    "m2m.vocoders.wavenet.cuda_device": "m2m.vocoders.wavenet.cuda.device",
    "m2m.vocoders.wavenet.cuda_engine": "m2m.vocoders.wavenet.cuda.engine",
    "m2m.vocoders.wavenet.cuda_plan": "m2m.vocoders.wavenet.cuda.plan",
    "m2m.vocoders.wavenet.kernels": "m2m.core.cpu.libraries",
    "m2m.vocoders.wavenet.stack": "m2m.vocoders.shared.cpu.training_stack",
    "m2m.web.atlas": "m2m.web.timbre_map",
    "m2m.web.studio": "m2m.web.service",
}

# Old module -> {the module that has them now: names}; "old=new" where a name has changed as well. The old module is one of
# those above, or still there without these names.
NAMES: dict[str, dict[str, str]] = {
    "m2m.core.batch": {
        "m2m.core.rendering.batch": "Job=RenderJob Outcome=RenderOutcome",
    },
    "m2m.core.checkpoint": {
        "m2m.core.model_folders": (
            "CARD CONFIG FORMAT MAX_CONFIG_BYTES WEIGHTS ConfigT find_model model_folder read_config read_notice shipped"
        ),
    },
    "m2m.core.mel": {
        "m2m.core.mel": "MelInTheMaking=LazyMel",
    },
    "m2m.core.mel2mel": {
        "m2m.core.mel2mel": "GLANCE_CONTEXT=PREVIEW_CONTEXT",
    },
    "m2m.core.midi": {
        "m2m.core.score_limits": "BeyondLimitError Limits",
    },
    "m2m.core.registry": {
        "m2m.core.plugins.registry": "blame=attribute_errors",
    },
    "m2m.core.pipeline": {
        "m2m.core.rendering.model_choice": "choose_model",
        "m2m.core.rendering.presence": "RING",
        "m2m.core.system.devices": "DEVICES",
    },
    "m2m.core.rendering": {
        "m2m.core.rendering.result": "Rendering",
    },
    "m2m.core.score": {
        "m2m.core.channels": "EXPRESSION PEDAL=SUSTAIN VOLUME",
    },
    "m2m.core.vocoder": {
        "m2m.core.vocoder": "Engine=EngineReport",
    },
    "m2m.evaluation.bench": {
        "m2m.evaluation.bench.sweep": "CONFIG Outcome=BenchOutcome QUICK REPORTS run=run_bench",
    },
    "m2m.evaluation.listening": {
        "m2m.evaluation.listening.blind_test": "ANCHOR FADE HEADROOM LOUDNESS Made=BlindTest PAGE REFERENCE make=make_blind_test",
    },
    "m2m.evaluation.measures": {
        "m2m.evaluation.measures.table": "MEASURES Measure Reference measure_audio measure_mel",
    },
    "m2m.evaluation.metrics": {
        "m2m.core.mel_measures": "STILL log_mel_error pearson tanh_log_error=paper_tanh_log_abs variance_ratio",
        "m2m.evaluation.measures.constant_q": "constant_q constant_q_correlation",
        "m2m.evaluation.measures.waves": "stft_distance=multi_resolution_stft_error",
    },
    "m2m.evaluation.opinions": {
        "m2m.evaluation.listening.mos": "Report=MosReport report=mos_report",
    },
    "m2m.evaluation.plan": {
        "m2m.evaluation.bench.plan": "Plan=BenchPlan",
    },
    "m2m.evaluation.speed": {
        "m2m.evaluation.bench.speed": "Task=SpeedTask",
    },
    "m2m.evaluation.work": {
        "m2m.evaluation.bench.cell": "Task=CellTask Workshop=CellRenderer",
    },
    "m2m.training.average": {
        "m2m.training.ema": "Average=EMA",
    },
    "m2m.training.dataset": {
        "m2m.dataset.description": "MAX_JSON_BYTES",
        "m2m.dataset.shards": "DatasetConfig MAX_SHARD_BYTES SPLITS ShardReader shard_path stretch=read_padded",
        "m2m.dataset.soundfont": "OVERSAMPLING Renderer",
        "m2m.dataset.augment": "vary",
    },
    "m2m.training.discriminator": {
        "m2m.training.losses.adversarial": "Opposed=GAN joined=active",
    },
    "m2m.training.loop": {
        "m2m.training.loop": "Task=TrainingTask",
        "m2m.training.state": "MOMENTS",
    },
    "m2m.training.losses": {
        "m2m.training.losses.mel": "LOSSES REFERENCE abs_mse log_abs_mse tanh_log_abs_mse",
    },
    "m2m.training.mel2mel": {
        "m2m.training.mel2mel": "heard=discriminator_input",
    },
    "m2m.training.parallel_wavenet": {
        "m2m.training.losses.student": "only",
    },
    "m2m.training.spectral": {
        "m2m.training.losses.student": "DISTANCES",
        "m2m.training.losses.stft": (
            "stft_distance=multi_resolution_stft_loss frame_distance=frame_loss power_distance=power_loss"
        ),
    },
    "m2m.training.start": {
        "m2m.training.warm_start": "begin=warm_start take_over=load_matching_weights",
    },
    "m2m.training.windows": {
        "m2m.training.segments": (
            "Window=TrainingSegment WindowLoop=SegmentLoop WindowRun=SegmentRun WindowTask=SegmentTask"
        ),
    },
    "m2m.vocoders.comb": {
        "m2m.vocoders.griffin_lim.fitted_excitation": "fit_timbre play=fitted_excitation",
        "m2m.vocoders.shared.excitation": (
            "around=excitation_margin bare=harmonic_excitation equalised=mel_matched_excitation let_go=apply_release"
        ),
    },
    "m2m.vocoders.conditioning": {
        "m2m.vocoders.shared.conditioning": "COMB=EXCITATION_VERSION centre=centre_crop",
    },
    "m2m.vocoders.griffin_lim": {
        "m2m.vocoders.griffin_lim.vocoder": "Array GriffinLim GriffinLimOptions Pin",
    },
    "m2m.vocoders.parallel_wavenet.engine": {
        "m2m.vocoders.parallel_wavenet.torch_engine": "Engine=TorchEngine Kept Precision StudentEngine=TorchEngine",
        "m2m.core.system.processor": "has_bf16",
    },
    "m2m.vocoders.rests": {
        "m2m.vocoders.shared.silence_gate": "Heard=GatedMel keep_rests=gate_silence",
    },
    "m2m.vocoders.spectrum": {
        "m2m.vocoders.shared.stft": (
            "Transform=STFT in_phase=transfer_phase in_phase_margin=transfer_phase_margin invert=mel_to_magnitude "
            "reach=window_reach shared=shared_stft spread=bands_to_bins"
        ),
    },
    "m2m.vocoders.wavenet.cpu_engine": {
        "m2m.vocoders.wavenet.cpu.engine": "Shape=NetworkShape in_order=weights_in_order",
    },
    "m2m.vocoders.wavenet.cuda_plan": {
        "m2m.vocoders.wavenet.cuda.plan": "Limits=DeviceLimits",
    },
    "m2m.vocoders.wavenet.engine": {
        "m2m.vocoders.wavenet.engine": "Engine=WaveNetEngine",
    },
    "m2m.vocoders.wavenet.network": {
        "m2m.vocoders.wavenet.network": "temper=apply_temperature",
        "m2m.vocoders.shared.layer": "Layer exactly",
        "m2m.vocoders.shared.layer_stack": "skip_sum",
    },
    "m2m.vocoders.wavenet.sampling": {
        "m2m.training.losses.nll": "LEVELS MAX_LOG_SCALE MIN_LOG_SCALE gaussian_nll logistics_nll nll",
        "m2m.vocoders.shared.philox": "HIGH KEY_STEPS LOW MULTIPLIERS ROUNDS logistic normal philox uniforms",
    },
    "m2m.vocoders.wavenet.segments": {
        "m2m.vocoders.wavenet.segments": "likeness=normalised_correlation pieces=segment_count",
    },
    "m2m.web.app": {
        "m2m.web.executor": "Desk=Executor",
        "m2m.web.routes.dependencies": "CLIENT",
    },
    "m2m.web.jobs": {
        "m2m.web.jobs": "Bell=Signal",
    },
    "m2m.web.limits": {
        "m2m.web.limits": "Limits=ServerLimits",
    },
    "m2m.web.messages": {
        "m2m.web.messages": "Map=MapInfo Model=ModelInfo Part=ComponentInfo Request=SoundRequest",
    },
    "m2m.web.studio": {
        "m2m.web.service": "Studio=Service",
    },
}


def install() -> None:
    """Have `import` find the old paths."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds old modules, and gives modules that are still there their old names."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in MODULES:
            return ModuleSpec(name, _MovedLoader(), origin=MODULES[name])
        if name in NAMES and (spec := PathFinder.find_spec(name, path)) and spec.origin:
            spec.loader = _LoaderWithOldNames(name, spec.origin)
            return spec
        return None


class _MovedLoader(Loader):
    """Makes an old module: an empty one whose attributes are looked up where they are now."""

    def exec_module(self, module: ModuleType) -> None:
        deprecated(f"the module {module.__name__}", MODULES[module.__name__])
        module.__getattr__ = _lookup(module.__name__)  # type: ignore[method-assign]


class _LoaderWithOldNames(SourceFileLoader):
    """Loads a module as ever, and adds the names that it once had."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.__getattr__ = _lookup(module.__name__)  # type: ignore[method-assign]


def _lookup(old: str) -> Callable[[str], Any]:
    """`__getattr__` of an old module, or of one with old names."""
    places = {name: (module, new) for name, module, new in _entries(old)}

    def find(name: str) -> Any:
        module, new = places.get(name, (MODULES.get(old, ""), name))
        if not module or name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        if old not in MODULES:
            deprecated(f"{old}.{name}", f"{module}.{new}")
        return getattr(import_module(module), new)

    return find


def _entries(old: str) -> list[tuple[str, str, str]]:
    """(old name, module, new name) of each name that an old module had."""
    pairs = [(word.partition("="), module) for module, words in NAMES.get(old, {}).items() for word in words.split()]
    return [(name, module, new or name) for (name, _, new), module in pairs]
