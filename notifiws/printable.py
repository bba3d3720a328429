"""Text of others on a terminal: names of tables, rows, messages. It is read, and moves nobody's cursor."""


def printable(text: str) -> str:
    """The text with what no eye sees (control characters, line ends, marks that turn a line around) as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
