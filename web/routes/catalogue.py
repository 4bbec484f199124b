"""What the server has: its limits, components, models and their maps, examples."""

from __future__ import annotations

from fastapi import APIRouter

from m2m import __version__
from m2m.core.errors import one_line
from m2m.web import messages as m
from m2m.web.routes.dependencies import TheExecutor, TheService

router = APIRouter()


@router.get("/about")
async def about(service: TheService) -> m.About:
    """The server's version and limits. A client that lost the server learns here that it is back."""
    return m.About(m2m=__version__, limits=service.limits)


@router.get("/components")
async def components(service: TheService, executor: TheExecutor) -> m.Components:
    """Models, vocoders, conditioners and encoders by name, and what keeps any of them from being used."""
    return await executor.run(service.components)


@router.post("/ready")
async def ready(wanted: m.ReadyRequest, service: TheService, executor: TheExecutor) -> m.Ready:
    """Load a model and a vocoder, so that a rendering with them begins at once; or learn why they cannot be used."""
    pipeline = await executor.run(service.pipeline, wanted.model, wanted.vocoder)
    return m.Ready(
        model=wanted.model or service.default_model,
        vocoder=pipeline.vocoder_name,
        sample_rate=pipeline.spec.sample_rate,
        notice=one_line(pipeline.vocoder.notice),
    )


@router.get("/models/{model}/map")
async def timbre_map(model: str, service: TheService, executor: TheExecutor) -> m.MapInfo:
    """Where a model's instruments lie on the map of its timbre space."""
    return await executor.run(service.map, model)


@router.get("/models/{model}/shade")
async def map_shade(model: str, service: TheService, executor: TheExecutor, by: m.Shading = "centroid") -> m.Shade:
    """The map's shade, by spectral centroid or mean energy. It is computed once, which takes some seconds."""
    return await executor.run(service.shade, model, by)


@router.get("/examples")
async def examples(service: TheService) -> list[m.Example]:
    """Scores that ship with m2m; they need not be uploaded."""
    return service.scores.examples()
