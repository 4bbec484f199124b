"""General MIDI's programs, and the trained instrument for each."""

from m2m.core.instruments import REFERENCE, family, is_kit, nearest_instrument, program_name


def test_every_program_finds_a_trained_instrument() -> None:
    trained = {name: program for program, name in REFERENCE.items()}
    spoken = [nearest_instrument(program, trained) for program in range(128)]
    assert [spoken[program] for program in trained.values()] == list(trained)
    assert spoken[40] == "string-ensemble"
    assert spoken[73] == "church-organ"
    assert len({program_name(number) for number in range(256)}) == 256


def test_a_model_without_the_tables_instrument_takes_the_nearest_program() -> None:
    assert nearest_instrument(40, {"flute": 73, "cello": 42}) == "cello"


def test_kits_stand_in_for_kits_only() -> None:
    trained = {"trumpet": 56, "standard-kit": 128, "jazz-kit": 160}
    spoken = [nearest_instrument(128 + program, trained) for program in (0, 1, 8, 32, 33, 40)]
    assert spoken == ["standard-kit", "standard-kit", "standard-kit", "jazz-kit", "jazz-kit", "standard-kit"]
    assert nearest_instrument(127, trained) == "trumpet"
    assert nearest_instrument(128, {"trumpet": 56}) is None
    assert nearest_instrument(56, {"standard-kit": 128}) is None
    assert [is_kit(number) for number in (127, 128)] == [False, True]


def test_families_are_of_eight_programs() -> None:
    assert [family(number) for number in (0, 7, 8, 56, 127, 128, 176)] == [
        "piano", "piano", "chromatic percussion", "brass", "sound effects", "drum kits", "drum kits"
    ]  # fmt: skip
