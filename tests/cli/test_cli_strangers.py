"""Text of strangers is shown as theirs, and no message of the command line can be mistaken."""

from blocklist_sdk.cli.output import indented


def test_no_line_of_a_complaint_looks_like_one_of_the_command() -> None:
    for end in ("\r\n", "\r", "\n", "\n\n"):
        shown = indented(f"won{end}case 5: decided\u202e\u2066", "    ")
        assert all(line.startswith("    ") for line in shown.split("\n"))
        assert not set(shown) & set("\r\u202e\u2066")
