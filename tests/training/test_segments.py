"""Training segments: audio and conditioning of the same time, silence beyond a piece, predicted mels; of a WaveNet's task."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import tiny_wavenet, untrained_mel2mel

from m2m.core.audio import mu_law_decode
from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec, log_mel
from m2m.training.pieces import TrainingSegment
from m2m.training.wavenet import WaveNetTask


def test_beyond_a_piece_is_silence(data: Path) -> None:
    task = WaveNetTask(tiny_wavenet(), data)
    last = task.train.frames(0, "trumpet")
    samples, features = task.segment(TrainingSegment(task.train, 0, "trumpet", last - 2, 5))
    assert samples.shape == (2 + 5 * 128,)
    assert (samples[2 + 2 * 128 :] == 32).all()
    assert (features[3:] == np.float32(MelSpec().silence)).all()
    samples, features = task.segment(TrainingSegment(task.train, 0, "trumpet", 0, 4))
    assert (samples[:2] == 32).all()
    assert (features[0] == np.float32(MelSpec().silence)).all()
    assert np.array_equal(features[1:], task.train.mel(0, "trumpet", 0, 5))


def test_the_roll_stands_beside_the_mel_and_is_sometimes_missing(data: Path) -> None:
    task = WaveNetTask(tiny_wavenet(model__condition_on_notes=True, without_notes=0.5, loop__batch_size=16), data)
    features = task.batch(0)[1]
    assert features.shape == (16, 10, 80 + 176)
    assert set((features[..., 80:].abs().sum((1, 2)) > 0).tolist()) == {True, False}
    roll = task.segment(TrainingSegment(task.train, 0, "trumpet", 30, 8))[1][:, 80:]
    sounding = task.train.notes(0, "trumpet")
    keys = {int(n[2]) for n in sounding if n[0] * 125 < 38 and n[1] * 125 > 30}
    assert set((roll[1:-1, 88:].max(0) > 0).nonzero()[0] + 21) == keys


def test_predicted_mels_are_mixed_in(data: Path, tmp_path: Path) -> None:
    folder = untrained_mel2mel(tmp_path / "m", {"trumpet": 56, "grand-piano": 0})
    task = WaveNetTask(tiny_wavenet(mel_model=str(folder), mel_model_share=0.5, loop__batch_size=8), data)
    assert torch.equal(task.batch(2)[1], task.batch(2)[1])
    true = task.segment(TrainingSegment(task.train, 1, "trumpet", 100, 8))
    predicted = task.segment(TrainingSegment(task.train, 1, "trumpet", 100, 8, predicted=True))
    assert np.array_equal(true[0], predicted[0])
    assert predicted[1].shape == true[1].shape
    # The same frames of one prediction of the whole, but for the context of the model.
    from m2m.core.score import from_rows

    model = task.mel_model
    assert model is not None
    whole = model.predict(from_rows(task.train.notes(1, "trumpet")), model.timbre.weight[0].numpy(), 200)
    assert np.abs(whole[99:109] - predicted[1]).max() < 1e-3


def test_a_mel_model_must_fit(data: Path, tmp_path: Path) -> None:
    folder = untrained_mel2mel(tmp_path / "m", {"grand-piano": 0})
    with pytest.raises(M2MError, match="was not trained on trumpet"):
        WaveNetTask(tiny_wavenet(mel_model=str(folder)), data)
    with pytest.raises(M2MError, match="lead 8 leaves nothing of sequence 8"):
        WaveNetTask(tiny_wavenet(lead=8), data)


@pytest.mark.parametrize("output", ["mulaw", "gaussian", "mol"])
def test_samples_and_features_are_of_the_same_time(data: Path, output: str) -> None:
    """The mel of a segment's samples is the segment's mel, where no frame reaches beyond it."""
    task = WaveNetTask(tiny_wavenet(model__output=output, model__classes=256, sequence=30), data)
    samples, features = task.segment(TrainingSegment(task.train, 1, "trumpet", 40, 30))
    wave = mu_law_decode(samples) if output == "mulaw" else samples
    assert wave.dtype == np.float32
    assert np.abs(wave[2:] - task.train.audio(1, "trumpet", 40 * 128, 70 * 128)).max() < 0.02
    found = np.exp(log_mel(wave[2:], MelSpec()))[5:-5]
    assert np.abs(found - np.exp(features[6:-6])).max() < 0.02 * found.max()
