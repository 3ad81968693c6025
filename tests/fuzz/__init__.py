"""What damaged and hostile files do to the package, and what kills, full disks and rivals do to files of its own.

    python -m tests.fuzz [--inputs 100000] [--format NAME] [--only FORMAT:NUMBER]
    python -m tests.fuzz kills | disk | starts

Seeds of every format are made by the package itself (`logs.py`, `arrays.py`, `networks.py`, `descriptions.py`), then
changed, byte by byte (`bytewise.py`) or inside (`zips.py`, `hdf5.py`, `texts.py`, `oddities.py`), and given to a
process with limits that reads them (`worker.py`, `campaign.py`). Input n of a format is a function of the seed, the
format and n alone. Sweeps: `kills.py`, `disk.py`, `starts.py`. docs/reliability.md says what must come out.
"""
