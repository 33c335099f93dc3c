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


class Archive:
    """A Parquet file. Rows are written in groups: large ones make a small file."""

    GROUP = 100_000

    def __init__(self, path, names):
        self.names, self.total, self._group = names, 0, []
        self._file = pyarrow.parquet.ParquetWriter(path, SCHEMA)

    def add(self, block):
        """Add a block of updates."""
        index = pyarrow.array(block.index.astype("int32"))
        names = pyarrow.DictionaryArray.from_arrays(index, self.names)
        columns = [names, block.value, block.timestamp, block.severity, block.gap]
        self._group.append(pyarrow.table(columns, SCHEMA))
        self.total += len(block.index)
        if sum(map(len, self._group)) >= self.GROUP:
            self._write()

    def _write(self):
        self._file.write_table(pyarrow.concat_tables(self._group))
        self._group = []

    def close(self):
        """Write the last group, and the end of the file, without which it cannot be read."""
        if self._group:
            self._write()
        self._file.close()


if len(sys.argv) < 3:
    sys.exit(__doc__)
path, names = sys.argv[1], sys.argv[2:]

with Context() as ctx:
    recording = ctx.table(names).record()
    archive = Archive(path, names)
    print(f"Waiting for the first update of {len(names)} PVs.", flush=True)
    try:
        archive.add(next(recording))
        print(f"Archiving to {path}; Ctrl-C ends it.", flush=True)
        for block in recording:
            archive.add(block)
    except KeyboardInterrupt:
        recording.close()
    for block in recording:  # what has come in the meantime
        archive.add(block)
    archive.close()
    print(f"{archive.total} updates in {path}")
