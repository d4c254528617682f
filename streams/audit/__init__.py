"""Is every published number right?  Batch code recomputes all of them from the source topics and compares.

read.py ──► recompute.py ──► compare.py
deal.py       what happened to a deal, in order
owner.py      whose is it
facts.py      the definitions of docs/kpis.md, deal by deal
windows.py    day, week, month, ...; business.py: business time
beside.py     what a record says beside its number: final, mature share, revision
tally.py      numbers of a window to the fields of a record
"""
