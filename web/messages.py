"""The messages of the API, as OpenAPI describes them. Times are in seconds, frequencies in Hz.

`python -m m2m.web.typescript` writes messages.d.ts from them, against which the page's scripts are checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from m2m.core.choices import GAIN_DB, GAIN_RANGE_DB, MAX_SEED
from m2m.core.score_limits import Limits
from m2m.web.jobs import State
from m2m.web.limits import ServerLimits

Shading = Literal["centroid", "energy"]
TrackWords = Annotated[str, Field(max_length=200)]
Timbre = Annotated[str, Field(max_length=4000)]
Level = Annotated[str, Field(max_length=20)]
MAX_TRACKS = Limits.tracks  # of a score


class Problem(BaseModel):
    """Why a request was not carried out. retry_after: seconds after which the same request may succeed."""

    kind: str
    message: str
    retry_after: int | None = None


class About(BaseModel):
    """The server."""

    m2m: str
    limits: ServerLimits


class ComponentInfo(BaseModel):
    """A component or a model, and whether it can be used."""

    name: str
    summary: str = ""
    package: str = ""
    usable: bool = True
    note: str = Field("", description="why it cannot be used, and what to do about it")
    default: bool = False


class ModelInfo(ComponentInfo):
    """A trained acoustic model."""

    conditioner: str
    encoder: str
    timbres: list[str] = Field(description="its instruments")


class Components(BaseModel):
    """All that is installed."""

    models: list[ModelInfo]
    vocoders: list[ComponentInfo]
    conditioners: list[ComponentInfo]
    encoders: list[ComponentInfo]


class Instrument(BaseModel):
    """A trained instrument on the map. programs: the General MIDI programs that sound with it."""

    name: str
    program: int
    x: float
    y: float
    programs: list[int]


class MapInfo(BaseModel):
    """The timbre space on a plane: its two strongest principal components, on a surface through all instruments.

    x, y: the least and the largest coordinate. explained: the share of the instruments' variance that lies in the plane.
    """

    model: str
    dimensions: int
    explained: float
    x: tuple[float, float]
    y: tuple[float, float]
    instruments: list[Instrument]


class Shade(BaseModel):
    """One number for every point of a grid over the map, row by row from its top left corner."""

    by: Shading
    unit: str
    columns: int
    rows: int
    values: list[float]


class TrackInfo(BaseModel):
    """One track; the lists have an entry for each note. keys and velocities: of MIDI, 0 to 127.

    number: as `map` and `mix` select it ('track:2').
    """

    number: int
    name: str
    program: int
    is_drum: bool
    starts: list[float]
    ends: list[float]
    keys: list[int]
    velocities: list[int]


class RecordingInfo(BaseModel):
    """An audio recording whose notes are a score.

    confidence: mean of its notes', null where the transcriber does not tell; unsure: notes of less than 0.5.
    """

    name: str
    seconds: float
    program: int = Field(description="General MIDI program of the instrument that is heard")
    instrument: str = Field(description='its name, "" where the recording is too quiet to tell')
    probability: float
    confidence: float | None
    unsure: int


class ScoreInfo(BaseModel):
    """A score that the server has read. recording: that it was transcribed from, null where it was written."""

    id: str
    name: str
    seconds: float
    notes: int
    tracks: list[TrackInfo]
    omissions: list[str] = Field(description="what will not sound as it is written")
    recording: RecordingInfo | None = None


class Example(BaseModel):
    """A score that ships with m2m."""

    id: str
    name: str
    seconds: float


class SoundRequest(BaseModel):
    """What requests for sound have in common. A name that is left out is the server's default."""

    model_config = ConfigDict(extra="forbid")

    score: str = Field(max_length=64, description="a score's id")
    model: str | None = Field(None, max_length=200, description="a model's name")
    timbre: Timbre | None = Field(
        None,
        description="as the command line takes it: 'trumpet', 'trumpet:0.7,church-organ:0.3', 'map@0.2,-1.3', "
        "'0:map@0,1; 8:trumpet'; null gives each track the timbre of its own program",
        examples=["vibraphone"],
    )
    map: dict[TrackWords, Timbre] = Field(
        {},
        max_length=MAX_TRACKS,
        description="timbres of some tracks, before `timbre`: by 'track:NUMBER', 'name:NAME' or a General MIDI program, "
        "as --map takes them",
        examples=[{"track:2": "trumpet"}],
    )
    mix: dict[TrackWords, Level] = Field(
        {},
        max_length=MAX_TRACKS,
        description="levels of some tracks, by the same words: decibels, 'mute' or 'solo', as --mix takes them",
        examples=[{"track:2": "-6dB", "name:Bass": "mute"}],
    )


class MelRequest(SoundRequest):
    """The mel of a stretch of a score, from `start` to `stop`."""

    start: float = Field(0.0, ge=0, le=14_400)
    stop: float = Field(10.0, gt=0, le=14_400)


class MelPicture(BaseModel):
    """A log-mel: natural logarithm of magnitude. values: for each frame its bands, from low to high."""

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
    """A model and a vocoder that are loaded. notice: what the vocoder says of its quality, "" for nothing."""

    model: str
    vocoder: str
    sample_rate: int
    notice: str = ""


class JobRequest(SoundRequest):
    """A rendering to begin."""

    vocoder: str | None = Field(None, max_length=200, description="a vocoder's name")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    gain: float = Field(GAIN_DB, ge=GAIN_RANGE_DB[0], le=GAIN_RANGE_DB[1], description="decibels")


class JobInfo(BaseModel):
    """A rendering. made: seconds of audio so far, of `seconds` in all; ahead: jobs before it in the queue."""

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
    map: dict[str, str]
    mix: dict[str, str]
    seed: int
    gain: float
    command: str = Field(description="the command line that renders the same file")
