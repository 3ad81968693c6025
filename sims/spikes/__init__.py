"""Spikes on disk: `log` writes them, `reader` reads them; ``docs/spike-format.md`` describes the file.

`file` lays the file out; `content` says what of a night goes into it; `column` is a growing dataset, `store` the order
in which columns are committed, `writer` the thread that does it; `resume` and `lock` are for files left behind;
`table` is the read side of two columns.
"""
