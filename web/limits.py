"""How much a client may ask for, and how it is told that it asked for too much."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Bounds of a server (`m2m serve --limit jobs=8`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload_kb: int = Field(512, gt=0, le=32_768, description="of a score, in kilobytes; half an hour of dense piano")
    score_seconds: float = Field(600.0, gt=0, le=14_400, description="length of a score")
    score_notes: int = Field(50_000, gt=0, le=1_000_000, description="notes of a score")
    scores: int = Field(64, gt=0, le=10_000, description="uploaded scores that are remembered, the latest ones")
    workers: int = Field(2, gt=0, le=64, description="scores rendered at a time, a thread each")
    jobs: int = Field(16, gt=0, le=10_000, description="renderings that wait or run, of all clients")
    jobs_per_client: int = Field(4, gt=0, le=10_000, description="of one client")
    job_seconds: float = Field(300.0, gt=0, description="that a rendering may run")
    patience: float = Field(5.0, gt=0, description="seconds until a rendering is cancelled that nobody listens to")
    kept_mb: int = Field(256, gt=0, description="of finished audio that is remembered, the latest")
    mel_seconds: float = Field(30.0, gt=0, le=600, description="length of one mel picture")
    requests: int = Field(32, gt=0, le=10_000, description="mel pictures and uploads that wait to be worked on")


class RefusedError(Exception):
    """A request that is not carried out: HTTP status, a word for programs, a sentence for people, when to try again."""

    def __init__(self, status: int, kind: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.retry_after = status, kind, message, retry_after
