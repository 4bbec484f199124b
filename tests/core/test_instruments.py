"""General MIDI's programs, and the trained instrument for each."""

from m2m.core.instruments import REFERENCE, nearest_instrument, program_name


def test_every_program_finds_a_trained_instrument() -> None:
    trained = {name: program for program, name in REFERENCE.items()}
    spoken = [nearest_instrument(program, trained) for program in range(128)]
    assert [spoken[program] for program in trained.values()] == list(trained)
    assert spoken[40] == "string-ensemble"
    assert spoken[73] == "church-organ"
    assert len({program_name(program) for program in range(128)}) == 128


def test_a_model_without_the_tables_instrument_takes_the_nearest_program() -> None:
    assert nearest_instrument(40, {"flute": 73, "cello": 42}) == "cello"
