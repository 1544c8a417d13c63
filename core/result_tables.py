"""The tables of a database of results."""

from __future__ import annotations

#: Version of the tables; a folder written by another one is refused, not guessed at.
SCHEMA_VERSION = 3

#: The statements that make them.
TABLES = """
CREATE TABLE trials (
    id TEXT PRIMARY KEY, data TEXT NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, samples INTEGER NOT NULL, failed INTEGER NOT NULL,
    notes TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE scores (
    trial TEXT NOT NULL REFERENCES trials(id), metric TEXT NOT NULL, value REAL NOT NULL, signature TEXT NOT NULL,
    higher_is_better INTEGER NOT NULL, component TEXT NOT NULL, part TEXT NOT NULL, rows_of TEXT NOT NULL,
    PRIMARY KEY (trial, metric)
) WITHOUT ROWID;
CREATE TABLE samples (
    trial TEXT NOT NULL REFERENCES trials(id), position INTEGER NOT NULL, sample TEXT NOT NULL, image TEXT NOT NULL,
    caption TEXT, error TEXT NOT NULL, kind TEXT NOT NULL, area REAL, PRIMARY KEY (trial, position)
) WITHOUT ROWID;
CREATE TABLE sample_scores (
    trial TEXT NOT NULL REFERENCES trials(id), metric TEXT NOT NULL, position INTEGER NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (trial, metric, position)
) WITHOUT ROWID;
CREATE TABLE sample_statistics (
    trial TEXT NOT NULL REFERENCES trials(id), metric TEXT NOT NULL, position INTEGER NOT NULL, numbers BLOB NOT NULL,
    PRIMARY KEY (trial, metric, position)
) WITHOUT ROWID;
CREATE TABLE unjudged (
    trial TEXT NOT NULL REFERENCES trials(id), metric TEXT NOT NULL, position INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (trial, metric, position)
) WITHOUT ROWID;
CREATE TABLE timings (trial TEXT NOT NULL, stage TEXT NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (trial, stage))
    WITHOUT ROWID;
"""
