"""Write every update of many PVs to a Parquet file, until Ctrl-C.

Usage: python archive_to_parquet.py FILE PV [PV ...]
Demo IOC: python -m caproto.ioc_examples.orbit
"""
import sys

import pyarrow
import pyarrow.parquet

from caproto.threading.client import Context

SCHEMA = pyarrow.schema({
    "name": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
    "value": pyarrow.float64(),
    "time": pyarrow.timestamp("ns", "UTC"),
    "severity": pyarrow.uint16(),
    "gap": pyarrow.bool_(),
})
#: Rows that are written together. Larger groups make a smaller file.
GROUP = 100_000


def as_arrow(block, names):
    """Make a table of a block of updates; numpy's arrays are not copied."""
    index = pyarrow.array(block.index.astype("int32"))
    columns = [
        pyarrow.DictionaryArray.from_arrays(index, names),
        block.value, block.timestamp, block.severity, block.gap,
    ]
    return pyarrow.table(columns, SCHEMA)


if len(sys.argv) < 3:
    sys.exit(__doc__)
path, names = sys.argv[1], sys.argv[2:]
total, group = 0, []

with Context() as ctx, pyarrow.parquet.ParquetWriter(path, SCHEMA) as archive:
    recording = ctx.table(names).record()
    try:
        for block in recording:
            group.append(as_arrow(block, names))
            if not total:
                print(f"Archiving to {path}; Ctrl-C ends it.", flush=True)
            total += len(block.index)
            if sum(map(len, group)) >= GROUP:
                archive.write_table(pyarrow.concat_tables(group))
                group = []
    except KeyboardInterrupt:
        recording.close()
    if group:
        archive.write_table(pyarrow.concat_tables(group))
    print(f"{total} updates in {path}")
