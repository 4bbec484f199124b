// Written by `python -m m2m.web.typescript` from messages.py.

/** The server. */
export interface About {
  m2m: string;
  limits: ServerLimits;
}

/** A component or a model, and whether it can be used. */
export interface ComponentInfo {
  name: string;
  summary: string;
  package: string;
  usable: boolean;
  /** why it cannot be used, and what to do about it */
  note: string;
  default: boolean;
}

/** All that is installed. */
export interface Components {
  models: ModelInfo[];
  vocoders: ComponentInfo[];
  conditioners: ComponentInfo[];
  encoders: ComponentInfo[];
}

/** A score that ships with m2m. */
export interface Example {
  id: string;
  name: string;
  seconds: number;
}

/** A trained instrument on the map. programs: the General MIDI programs that sound with it. */
export interface Instrument {
  name: string;
  program: number;
  x: number;
  y: number;
  programs: number[];
}

/** A rendering. made: seconds of audio so far, of `seconds` in all; ahead: jobs before it in the queue. */
export interface JobInfo {
  id: string;
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  /** why it failed */
  message: string;
  ahead: number;
  progress: number;
  made: number;
  seconds: number;
  samples: number;
  sample_rate: number;
  score: string;
  model: string;
  vocoder: string;
  timbre: string | null;
  map: Record<string, string>;
  mix: Record<string, string>;
  seed: number;
  gain: number;
  /** the command line that renders the same file */
  command: string;
}

/** A rendering to begin. */
export interface JobRequest {
  /** a score's id */
  score: string;
  /** a model's name */
  model?: string | null;
  /**
   * as the command line takes it: 'trumpet', 'trumpet:0.7,church-organ:0.3', 'map@0.2,-1.3', '0:map@0,1;
   * 8:trumpet'; null gives each track the timbre of its own program
   */
  timbre?: string | null;
  /**
   * timbres of some tracks, before `timbre`: by 'track:NUMBER', 'name:NAME' or a General MIDI program, as --map
   * takes them
   */
  map?: Record<string, string>;
  /** levels of some tracks, by the same words: decibels, 'mute' or 'solo', as --mix takes them */
  mix?: Record<string, string>;
  /** a vocoder's name */
  vocoder?: string | null;
  seed?: number;
  /** decibels */
  gain?: number;
}

/**
 * The timbre space on a plane: its two strongest principal components, on a surface through all instruments.
 *
 * x, y: the least and the largest coordinate. explained: the share of the instruments' variance that lies in the
 * plane.
 */
export interface MapInfo {
  model: string;
  dimensions: number;
  explained: number;
  x: [number, number];
  y: [number, number];
  instruments: Instrument[];
}

/** A log-mel: natural logarithm of magnitude. values: for each frame its bands, from low to high. */
export interface MelPicture {
  start: number;
  frame_rate: number;
  frames: number;
  bands: number;
  silence: number;
  values: number[][];
}

/** The mel of a stretch of a score, from `start` to `stop`. */
export interface MelRequest {
  /** a score's id */
  score: string;
  /** a model's name */
  model?: string | null;
  /**
   * as the command line takes it: 'trumpet', 'trumpet:0.7,church-organ:0.3', 'map@0.2,-1.3', '0:map@0,1;
   * 8:trumpet'; null gives each track the timbre of its own program
   */
  timbre?: string | null;
  /**
   * timbres of some tracks, before `timbre`: by 'track:NUMBER', 'name:NAME' or a General MIDI program, as --map
   * takes them
   */
  map?: Record<string, string>;
  /** levels of some tracks, by the same words: decibels, 'mute' or 'solo', as --mix takes them */
  mix?: Record<string, string>;
  start?: number;
  stop?: number;
}

/** A trained acoustic model. */
export interface ModelInfo {
  name: string;
  summary: string;
  package: string;
  usable: boolean;
  /** why it cannot be used, and what to do about it */
  note: string;
  default: boolean;
  conditioner: string;
  encoder: string;
  /** its instruments */
  timbres: string[];
}

/** Why a request was not carried out. retry_after: seconds after which the same request may succeed. */
export interface Problem {
  kind: string;
  message: string;
  retry_after: number | null;
}

/** A model and a vocoder that are loaded. notice: what the vocoder says of its quality, "" for nothing. */
export interface Ready {
  model: string;
  vocoder: string;
  sample_rate: number;
  notice: string;
}

/** A model and a vocoder to load. */
export interface ReadyRequest {
  model?: string | null;
  vocoder?: string | null;
}

/**
 * An audio recording whose notes are a score.
 *
 * confidence: mean of its notes', null where the transcriber does not tell; unsure: notes of less than 0.5.
 */
export interface RecordingInfo {
  name: string;
  seconds: number;
  /** General MIDI program of the instrument that is heard */
  program: number;
  /** its name, "" where the recording is too quiet to tell */
  instrument: string;
  probability: number;
  confidence: number | null;
  unsure: number;
}

/** A score that the server has read. recording: that it was transcribed from, null where it was written. */
export interface ScoreInfo {
  id: string;
  name: string;
  seconds: number;
  notes: number;
  tracks: TrackInfo[];
  /** what will not sound as it is written */
  omissions: string[];
  recording: RecordingInfo | null;
}

/** Bounds of a server (`m2m serve --limit jobs=8`). */
export interface ServerLimits {
  /** kilobytes of a score's file; half an hour of dense piano fits */
  upload_kb: number;
  /** seconds of a score, or of an audio recording */
  score_seconds: number;
  /** notes of a score */
  score_notes: number;
  /** seconds of a score times its tracks; each has a vocoder of its own */
  part_seconds: number;
  /** uploaded scores that are remembered, the latest ones */
  scores: number;
  /** megabytes of them */
  scores_mb: number;
  /** kilobytes of a recording's file; six minutes of a CD's stereo fit */
  audio_kb: number;
  /** recordings that are received or transcribed at a time; one is transcribed */
  audio_uploads: number;
  /** seconds that the transcription of a recording may run */
  transcription_seconds: number;
  /** scores rendered at a time, each by a thread */
  workers: number;
  /** renderings of all clients that wait or run */
  jobs: number;
  /** renderings of one client that wait or run */
  jobs_per_client: number;
  /** seconds that a rendering may run */
  job_seconds: number;
  /** seconds until a rendering is cancelled that no client listens to or asks for */
  patience: number;
  /** megabytes of renderings that are kept, the latest; files of them included */
  kept_mb: number;
  /** seconds of one mel picture */
  mel_seconds: number;
  /** requests, such as mel pictures and uploads, that wait */
  requests: number;
  /** connections at a time; an address may hold a quarter of them */
  connections: number;
}

/** One number for every point of a grid over the map, row by row from its top left corner. */
export interface Shade {
  by: "centroid" | "energy";
  unit: string;
  columns: number;
  rows: number;
  values: number[];
}

/** What requests for sound have in common. A name that is left out is the server's default. */
export interface SoundRequest {
  /** a score's id */
  score: string;
  /** a model's name */
  model?: string | null;
  /**
   * as the command line takes it: 'trumpet', 'trumpet:0.7,church-organ:0.3', 'map@0.2,-1.3', '0:map@0,1;
   * 8:trumpet'; null gives each track the timbre of its own program
   */
  timbre?: string | null;
  /**
   * timbres of some tracks, before `timbre`: by 'track:NUMBER', 'name:NAME' or a General MIDI program, as --map
   * takes them
   */
  map?: Record<string, string>;
  /** levels of some tracks, by the same words: decibels, 'mute' or 'solo', as --mix takes them */
  mix?: Record<string, string>;
}

/**
 * One track; the lists have an entry for each note. keys and velocities: of MIDI, 0 to 127.
 *
 * number: as `map` and `mix` select it ('track:2').
 */
export interface TrackInfo {
  number: number;
  name: string;
  program: number;
  is_drum: boolean;
  starts: number[];
  ends: number[];
  keys: number[];
  velocities: number[];
}
