"""How much a client may ask for, and the exception that says that it asked for too much."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServerLimits(BaseModel):
    """Bounds of a server (`m2m serve --limit jobs=8`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload_kb: int = Field(
        512, gt=0, le=32_768, description="kilobytes of a score's file; half an hour of dense piano fits"
    )
    score_seconds: float = Field(600.0, gt=0, le=14_400, description="seconds of a score, or of an audio recording")
    score_notes: int = Field(50_000, gt=0, le=1_000_000, description="notes of a score")
    part_seconds: float = Field(
        20_000.0, gt=0, description="seconds of a score times its tracks; each has a vocoder of its own"
    )
    scores: int = Field(64, gt=0, le=10_000, description="uploaded scores that are remembered, the latest ones")
    scores_mb: int = Field(64, gt=0, description="megabytes of them")
    audio_kb: int = Field(
        65_536, gt=0, le=1 << 20, description="kilobytes of a recording's file; six minutes of a CD's stereo fit"
    )
    audio_uploads: int = Field(
        4, gt=0, le=1000, description="recordings that are received or transcribed at a time; one is transcribed"
    )
    transcription_seconds: float = Field(
        120.0, gt=0, description="seconds that the transcription of a recording may run"
    )
    workers: int = Field(2, gt=0, le=64, description="scores rendered at a time, each by a thread")
    jobs: int = Field(16, gt=0, le=10_000, description="renderings of all clients that wait or run")
    jobs_per_client: int = Field(4, gt=0, le=10_000, description="renderings of one client that wait or run")
    job_seconds: float = Field(300.0, gt=0, description="seconds that a rendering may run")
    patience: float = Field(
        5.0, gt=0, description="seconds until a rendering is cancelled that no client listens to or asks for"
    )
    kept_mb: int = Field(
        256, gt=0, description="megabytes of renderings that are kept, the latest; files of them included"
    )
    mel_seconds: float = Field(30.0, gt=0, le=600, description="seconds of one mel picture")
    requests: int = Field(32, gt=0, le=10_000, description="requests, such as mel pictures and uploads, that wait")
    connections: int = Field(
        128, gt=0, le=10_000, description="connections at a time; an address may hold a quarter of them"
    )


class RefusedError(Exception):
    """A request that is not carried out.

    status: of HTTP; kind: a word for programs; message: a sentence for people; retry_after: seconds after which the same
    request may succeed, None where it will not.
    """

    def __init__(self, status: int, kind: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.retry_after = status, kind, message, retry_after
