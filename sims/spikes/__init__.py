"""Spikes on disk: `log` writes them, `reader` reads them; ``docs/spike-format.md`` describes the file.

`file` lays the file out; `content` says what of a night goes into it; `column` is a growing dataset, `store` the order
in which columns are committed, `writer` the thread that does it; `resume` and `lock` are for files left behind.

On the read side, where a file may come from anybody, `look` makes sure that HDF5 comes back from it, `header` checks
all that it tells of itself (`attributes` their types, `stored` how datasets lie in it), `table` and `chunks` check two
columns as they are read, and `damage` says what is wrong.
"""
