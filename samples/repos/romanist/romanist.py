"""Roman numerals from 1 to 3999."""

STEPS = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
         (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


def to_roman(number: int) -> str:
    if not 0 < number < 4000:
        raise ValueError(f"{number} has no Roman numeral")
    out = []
    for value, letters in STEPS:
        times, number = divmod(number, value)
        out.append(letters * times)
    return "".join(out)


def from_roman(text: str) -> int:
    number, rest = 0, text.upper()
    for value, letters in STEPS:
        while rest.startswith(letters):
            number, rest = number + value, rest[len(letters):]
    if rest or not 0 < number < 4000 or to_roman(number) != text.upper():
        raise ValueError(f"{text!r} is not a Roman numeral")
    return number
