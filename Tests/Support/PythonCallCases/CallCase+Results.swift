extension CallCase {
    public static let results: [CallCase] = [
        result("text as it is", "'plain \"text\"'", #"plain "text""#),
        result("None", "None", nil),
        result("true", "True", "true"),
        result("integer", "7", "7"),
        result("negative integer", "-7", "-7"),
        result("big integer", "10**30", "1" + String(repeating: "0", count: 30)),
        result("float", "2.0", "2.0"),
        result("list", "[1, 1.5, True, None, 'x']", #"[1, 1.5, true, null, "x"]"#),
        result("tuple", "(1, 2)", "[1, 2]"),
        result("not ASCII", "['é']", #"["\u00e9"]"#),
        result("lone surrogate in text", "'a\\ud800b'", "a?b"),
        result("lone surrogate in JSON", "['\\ud800']", #"["\ud800"]"#),
        result(
            "keys that are not text", "{1: 'a', True: 'b', None: 'c', 1.5: 'd'}",
            #"{"1": "b", "null": "c", "1.5": "d"}"#),
        result(
            "datetime", "[datetime.datetime(2026, 1, 2, 3, 4, 5)]", #"["2026-01-02T03:04:05"]"#, top: "import datetime"),
        result("date", "datetime.date(2026, 1, 2)", #""2026-01-02""#, top: "import datetime"),
        result("time", "datetime.time(3, 4)", #""03:04:00""#, top: "import datetime"),
        result("timedelta", "datetime.timedelta(minutes=1.5)", "90.0", top: "import datetime"),
        result("Decimal", "decimal.Decimal('1.10')", #""1.10""#, top: "import decimal"),
        result("UUID", "uuid.UUID(int=1)", #""00000000-0000-0000-0000-000000000001""#, top: "import uuid"),
        result("Path", "pathlib.Path('/etc/x')", #""/etc/x""#, top: "import pathlib"),
        result("bytes", "b'ab\\xff'", "\"ab\\ufffd\""),
        result("set", "{3, 1, 2}", "[1, 2, 3]"),
        result("frozen set of what has no order", "len(frozenset({1, 'a'}))", "2"),
        result("mixed set", "[sorted(map(str, {1, 'a'})), {None}]", #"[["1", "a"], [null]]"#),
        result("Enum", "E.A", "5", top: "import enum\nclass E(enum.Enum): A = 5"),
        result("IntEnum", "[E.A]", "[5]", top: "import enum\nclass E(enum.IntEnum): A = 5"),
        result("text subclass", "E.A", "x", top: "import enum\nclass E(str, enum.Enum): A = 'x'"),
        result(
            "dataclass", "D(1, [D(2, [])])", #"{"a": 1, "b": [{"a": 2, "b": []}]}"#,
            top: "import dataclasses\n@dataclasses.dataclass\nclass D:\n    a: int\n    b: list"),
        refused("NaN", "float('nan')", "ValueError"),
        refused("Infinity, deep", "{'a': [float('inf')]}", "ValueError"),
        refused("NaN as a key", "{float('nan'): 1}", "ValueError"),
        refused("an object", "object()", "TypeError"),
        refused("a class", "D", "TypeError", top: "import dataclasses\n@dataclasses.dataclass\nclass D: pass"),
        refused("a tuple as a key", "{(1, 2): 3}", "TypeError"),
        refused("circle", "circle()", "ValueError", top: "def circle():\n    a = []\n    a.append(a)\n    return a"),
        refused(
            "too deep", "deep()", "RecursionError",
            top: "def deep():\n    a = []\n    for _ in range(100000): a = [a]\n    return a"),
        refused("more digits than Python writes", "10**5000", "ValueError"),
        refused(
            "a path that can't be written", "P()", "RuntimeError",
            top:
                "import os\nclass P(os.PathLike):\n    def __fspath__(self): return ''\n    def __str__(self): raise RuntimeError('no')"
        ),
        CallCase(
            name: "a million keys",
            script: plugin("", "return {str(n): n for n in range(500000)}"),
            expectation: .value(manyKeys)),
    ]

    private static let manyKeys = "{" + (0..<500_000).map { "\"\($0)\": \($0)" }.joined(separator: ", ") + "}"
}
