"""What the API takes and gives, as OpenAPI describes it. Times are in seconds, frequencies in Hz."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from m2m.core.choices import GAIN_DB, GAIN_RANGE_DB, MAX_SEED
from m2m.web.jobs import State
from m2m.web.limits import Limits

Shading = Literal["centroid", "energy"]


class Problem(BaseModel):
    """Why a request was not carried out. retry_after: seconds, where trying again may help."""

    kind: str
    message: str
    retry_after: int | None = None


class About(BaseModel):
    """The server."""

    m2m: str
    limits: Limits


class Part(BaseModel):
    """A component or model that can be chosen, or why not."""

    name: str
    summary: str = ""
    package: str = ""
    usable: bool = True
    note: str = Field("", description="why it cannot be used, and what to do about it")
    default: bool = False


class Model(Part):
    """A trained acoustic model."""

    conditioner: str
    encoder: str
    timbres: list[str] = Field(description="its instruments")


class Components(BaseModel):
    """All that is installed."""

    models: list[Model]
    vocoders: list[Part]
    conditioners: list[Part]
    encoders: list[Part]


class Instrument(BaseModel):
    """A trained instrument on the map; `programs` are the General MIDI programs it speaks for."""

    name: str
    program: int
    x: float
    y: float
    programs: list[int]


class Map(BaseModel):
    """The timbre space on a plane: its two strongest principal components, bent through all instruments.

    explained: the share of the instruments' variance that lies in the plane.
    """

    model: str
    dimensions: int
    explained: float
    x: tuple[float, float]
    y: tuple[float, float]
    instruments: list[Instrument]


class Shade(BaseModel):
    """One number for every place of a grid over the map, row by row from its top left corner."""

    by: Shading
    unit: str
    columns: int
    rows: int
    values: list[float]


class TrackInfo(BaseModel):
    """One instrument's part; the lists are as long as it has notes."""

    name: str
    program: int
    is_drum: bool
    starts: list[float]
    ends: list[float]
    keys: list[int]
    velocities: list[int]


class ScoreInfo(BaseModel):
    """A score that the server has read."""

    id: str
    name: str
    seconds: float
    notes: int
    tracks: list[TrackInfo]
    omissions: list[str] = Field(description="what of it will not sound as written")


class Example(BaseModel):
    """A score that ships with m2m."""

    id: str
    name: str
    seconds: float


class Request(BaseModel):
    """What every request about sound names; None is the server's default."""

    model_config = ConfigDict(extra="forbid")

    score: str = Field(max_length=64, description="a score's id")
    model: str | None = Field(None, max_length=200, description="a model's name")
    timbre: str | None = Field(
        None,
        max_length=4000,
        description="as the command line takes it: 'trumpet', 'trumpet:0.7,church-organ:0.3', 'map@0.2,-1.3', "
        "'0:map@0,1; 8:trumpet'; none leaves each track its own program's",
        examples=["vibraphone"],
    )


class MelRequest(Request):
    """A picture of how a point sounds."""

    start: float = Field(0.0, ge=0, le=14_400)
    stop: float = Field(10.0, gt=0, le=14_400)


class MelPicture(BaseModel):
    """A log-mel, natural logarithm of magnitude; `values` are frames of bands, from low to high."""

    start: float
    frame_rate: float
    frames: int
    bands: int
    silence: float
    values: list[list[float]]


class ReadyRequest(BaseModel):
    """A model and a vocoder to load."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, max_length=200)
    vocoder: str | None = Field(None, max_length=200)


class Ready(BaseModel):
    """A pair that is loaded. notice: what to know before trusting the vocoder's sound, if anything."""

    model: str
    vocoder: str
    sample_rate: int
    notice: str = ""


class JobRequest(Request):
    """A rendering to begin."""

    vocoder: str | None = Field(None, max_length=200, description="a vocoder's name")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    gain: float = Field(GAIN_DB, ge=GAIN_RANGE_DB[0], le=GAIN_RANGE_DB[1], description="decibels")


class JobInfo(BaseModel):
    """A rendering. made: seconds of audio that are there; ahead: jobs before it in the queue."""

    id: str
    state: State
    message: str = Field("", description="why it failed")
    ahead: int = 0
    progress: float = Field(0.0, ge=0, le=1)
    made: float = 0.0
    seconds: float = 0.0
    samples: int = 0
    sample_rate: int = 0
    score: str
    model: str
    vocoder: str
    timbre: str | None
    seed: int
    gain: float
    command: str = Field(description="the command line that renders the same file")
