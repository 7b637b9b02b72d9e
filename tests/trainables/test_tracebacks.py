"""What is kept of an error: all of it that is nobody's secret."""

import pytest

from trainables.tracebacks import LONGEST, traceback_text, without_secrets

ENVIRONMENT = {
    "HF_TOKEN": "hf_abcdefgh",
    "MLFLOW_TRACKING_PASSWORD": "sesame-street",
    "PATH": "/usr/bin:/bin",
    "AUTH": "on",
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "cannot reach postgresql://anna:hunter2@db:5432/mlflow",
            "cannot reach postgresql://***@db:5432/mlflow",
        ),
        ("got 401 for hf_abcdefgh", "got 401 for ***"),
        ("at sesame-street 5", "at *** 5"),
        ("{'api_key': 'abc123', 'epochs': 3}", "{'api_key': ***, 'epochs': 3}"),
        ("connect(password=hunter2, port=5)", "connect(password=***, port=5)"),
        ("AWS_SECRET_ACCESS_KEY=xyz/123 python", "AWS_SECRET_ACCESS_KEY=*** python"),
        ("Authorization: Bearer abcdef.ghijkl", "Authorization: Bearer ***"),
        ("/usr/bin:/bin has no token 'x' on line 3", "/usr/bin:/bin has no token 'x' on line 3"),
        ("KeyError: 'layer.weight'", "KeyError: 'layer.weight'"),
        ("    tokens = tokens[:5]", None),
        ("    token = tokenizer(text)", None),
    ],
)
def test_secrets_are_masked_and_nothing_else(text: str, kept: str | None) -> None:
    assert without_secrets(text, ENVIRONMENT) == (text if kept is None else kept)


def test_a_terminals_colours_go_and_what_moves_the_cursor_is_shown() -> None:
    text = traceback_text('\x1b[36mray::step()\x1b[39m\n\tFile "a.py", line 3\n\x1b]0;title\x07 \u202e', {})
    assert text == 'ray::step()\n    File "a.py", line 3\n\\x1b]0;title\\x07 \\u202e'


def test_of_a_long_one_beginning_and_end_are_kept() -> None:
    text = traceback_text("\n".join(f"line {number}" for number in range(20_000)), {})
    assert len(text) <= LONGEST and text.startswith("line 0\n") and text.endswith("line 19999")
    assert "characters are left out" in text
