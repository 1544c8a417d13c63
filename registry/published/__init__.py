"""Tables that papers print, as data: which preset a row is, what was printed, and what a row waits for."""
