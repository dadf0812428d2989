"""Hostile input: files and bytes made to break the readers, and what must hold whatever they are.

`fuzz.targets` says which readers there are and what is a wrong answer; `fuzz.mutations` makes cases of seeds;
`fuzz.files` makes a folder of hostile image files; `fuzz.worker` runs cases in a process of their own, with limits;
`fuzz.run` searches guided by coverage. `python -m benchmarks.hostile` counts what they come to.
"""
