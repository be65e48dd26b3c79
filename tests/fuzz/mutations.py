"""Ways in which a file goes wrong, drawn at random: in transfer, in an editor, in a spreadsheet, on a disk."""

import random

# What stands in files where it should not.
ODD = [
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\t", b",", b";", b'"', b"'", b"\n\n", b"{", b"}", b"[", b"]", b"<",
    b"&a *a", b"!!int x", b"NA", b"NaN", b"inf", b"-1", b"1e999", b"1E5", b"9" * 30, b"0x", b"2024-13-45", b"1,5",
    b"\xe2\x80\xa8", b"null", b"true", b"x" * 300, b"../", b"$", b"%s", b"=1+1",
]  # fmt: skip


def mutate(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Return a file's content after one to four changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = draw.choice(CHANGES)(content, others, draw)
    return content


def _span(content, draw):
    start = draw.randint(0, len(content))
    return start, min(len(content), start + draw.choice((1, 2, 4, 8, 16, 100, 4096)))


def flip_a_bit(content, _, draw):
    if not content:
        return content
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]


def set_bytes(content, _, draw):
    start, end = _span(content, draw)
    value = draw.choice((b"\0", b"\xff", bytes([draw.randrange(256)])))
    return content[:start] + value * (end - start) + content[end:]


def cut(content, _, draw):
    return content[: draw.randint(0, len(content))]


def leave_out(content, _, draw):
    start, end = _span(content, draw)
    return content[:start] + content[end:]


def repeat(content, _, draw):
    start, end = _span(content, draw)
    return content[:end] + content[start:end] * draw.choice((1, 2, 50)) + content[end:]


def insert(content, _, draw):
    start, end = _span(content, draw)
    return content[:start] + draw.choice(ODD) + content[draw.choice((start, end)) :]


def splice(content, others, draw):
    other = draw.choice(others)
    return content[: draw.randint(0, len(content))] + other[draw.randint(0, len(other)) :]


def change_a_field(content, _, draw):
    """Replace what stands between two separators."""
    separator = draw.choice((b"\t", b",", b"\n", b" ", b":"))
    fields = content.split(separator)
    fields[draw.randrange(len(fields))] = draw.choice(ODD)
    return separator.join(fields)


def swap_lines(content, _, draw):
    lines = content.split(b"\n")
    first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


CHANGES = [flip_a_bit, set_bytes, cut, leave_out, repeat, insert, splice, change_a_field, swap_lines]
