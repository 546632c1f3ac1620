"""Arrow streams with flipped and missing bytes: refused or answered, and never the end of the process.

pyarrow checks little of what it maps, and a wrong length in the wrong place is a crash. So this runs in a process of
its own.
"""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk.lookup_server.arrow_questions import NotAColumn, _header, read_numbers
from support.mixed_list import MixedList
from support.scale import Tally, scaled

STREAMS = scaled(1_500, long=100_000)

PROGRAM = """
import collections, json, random, sys
import pyarrow as pa
from blocklist_sdk import Blocklist
from blocklist_sdk.lookup_server.arrow_questions import NotAColumn, levels_in, read_numbers, write_answer

def stream(column):
    sink = pa.BufferOutputStream()
    table = pa.table({"number": column})
    with pa.ipc.new_stream(sink, table.schema) as written:
        written.write_table(table)
    return sink.getvalue().to_pybytes()

texts = ["+6281200000001", "0812-3456-0042", "GoPay", None] * 5
kinds = pa.string(), pa.string_view(), pa.large_string()
streams = [stream(pa.array(texts).cast(kind)) for kind in kinds]
streams += [stream(pa.array([6281200000001, 2, None] * 5, kind)) for kind in (pa.int64(), pa.uint64())]
chance, found = random.Random(18), collections.Counter()
with Blocklist.from_settings() as blocklist:
    for _ in range(int(sys.argv[1])):
        data = bytearray(chance.choice(streams))
        for _ in range(chance.randrange(1, 4)):
            kind, at = chance.randrange(4), chance.randrange(len(data))
            if kind == 0:
                data[at] = chance.randrange(256)
            elif kind == 1:
                data[at] ^= 1 << chance.randrange(8)
            elif kind == 2:
                data[at:at + 4] = chance.choice([b"\\xff" * 4, b"\\0" * 4, b"\\xff\\xff\\xff\\x7f", b"\\0\\0\\0\\x80"])
            else:
                del data[at:at + chance.randrange(1, 9)]
        try:
            column = read_numbers(bytes(data), rows_max=10_000)
        except NotAColumn as error:
            found[error.problem.kind] += 1
            continue
        answer = blocklist.screen(column)
        levels_in(answer)
        write_answer(answer)
        found["answered"] += 1
print(json.dumps(found))
"""


def test_a_stream_that_is_compressed_as_by_arrow_0_17_is_refused() -> None:
    """Then the name of the compression stands in the metadata of the message, and pyarrow still reads it there."""
    column = pa.array(["0" * 1_000_000], pa.large_string())
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"number": column})
    options = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V4, compression="zstd")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
        stream.write_batch(batch, custom_metadata={b"ARROW:experimental_compression": b"zstd"})
    data = bytearray(sink.getvalue().to_pybytes())
    # Each message is a mark of 4 bytes, the length of its header, and the header.
    at = 8 + struct.unpack_from("<i", data, 4)[0]
    header = bytes(data[at + 8 : at + 8 + struct.unpack_from("<i", data, at + 4)[0]])
    _, _, table = _header(header)
    field = table - struct.unpack_from("<i", header, table)[0] + 4 + 2 * 3
    assert struct.unpack_from("<H", header, field)[0]
    struct.pack_into("<H", data, at + 8 + field, 0)  # the batch no longer says that it is compressed
    assert len(data) < 1_000
    assert pa.ipc.open_stream(bytes(data)).read_all().column(0).nbytes > 1_000_000
    with pytest.raises(NotAColumn, match="without compression"):
        read_numbers(bytes(data), rows_max=10)


def test_no_stream_ends_the_process(tmp_path: Path, tally: Tally) -> None:
    published = MixedList(tmp_path)
    published.recipient().sync()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(STREAMS)],
        env={**os.environ, **published.settings()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    tally(**{name.replace("-", "_"): count for name, count in found.items()})
    assert found["answered"] > STREAMS // 50
    assert found["malformed"] > STREAMS // 50
