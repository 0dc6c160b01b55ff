#!/usr/bin/env python3
"""Makes the test vectors of QRCode with the encoder qrcode, and has the decoder zxing-cpp read each of them.

    pip install qrcode==8.2 zxing-cpp==3.1.1 numpy==2.4.6
    python3 generate.py            # writes qr.json next to itself

qr.json        [text, correction, version, mask, matrix]
               correction: L or M. matrix: row by row, dark is 1, the bits of all rows as one hexadecimal number.

The first row is a comment. Of each version and correction there is the longest text that fits and a shorter one, which
needs padding. The first text has all eight masks. The same versions of Python and qrcode write the same file.
"""

import importlib.metadata
import json
import pathlib

import numpy
import qrcode
import qrcode.exceptions
import qrcode.util
import zxingcpp

ALPHABET = "https://backend.example.com/device?user_code=WDJB-MJHT&ümläut=€"
LEVELS = {"L": qrcode.constants.ERROR_CORRECT_L, "M": qrcode.constants.ERROR_CORRECT_M}


def text(size: int) -> str:
    """So many bytes of UTF-8."""
    long = (ALPHABET * 8).encode()[:size].decode(errors="ignore")
    return long + "." * (size - len(long.encode()))


def code(content: str, level: str, version: int, mask: int) -> qrcode.QRCode:
    made = qrcode.QRCode(version=version, error_correction=LEVELS[level], mask_pattern=mask, border=0)
    made.add_data(qrcode.util.QRData(content.encode(), mode=qrcode.util.MODE_8BIT_BYTE), optimize=0)
    made.make(fit=False)
    return made


def row(content: str, level: str, version: int, mask: int) -> list:
    modules = [[bool(module) for module in line] for line in code(content, level, version, mask).modules]
    picture = numpy.pad(numpy.array(modules, dtype=numpy.uint8), 4).repeat(4, 0).repeat(4, 1)
    read = zxingcpp.read_barcode(255 - 255 * picture, zxingcpp.BarcodeFormat.QRCode)
    assert read.text == content and read.ec_level == level, (content, level, version, read.text)
    bits = "".join("1" if module else "0" for line in modules for module in line)
    return [content, level, version, mask, f"{int(bits, 2):0{(len(bits) + 3) // 4}x}"]


def capacity(level: str, version: int) -> int:
    size = 1
    while True:
        try:
            code(text(size + 1), level, version, 0)
        except (qrcode.exceptions.DataOverflowError, ValueError):
            return size
        size += 1


def rows():
    for mask in range(8):
        yield row("https://example.com/device", "M", 2, mask)
    before = {level: 0 for level in LEVELS}
    for version in range(1, 11):
        for level in LEVELS:
            largest = capacity(level, version)
            for size in (largest, (before[level] + largest + 1) // 2):
                yield row(text(size), level, version, (version + size) % 8)
            before[level] = largest


names = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("qrcode", "zxing-cpp"))
lines = [json.dumps(f"{names}; made by generate.py, don't edit")]
lines += [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in rows()]
pathlib.Path(__file__).with_name("qr.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
