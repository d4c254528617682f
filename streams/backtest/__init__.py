"""What would the alert rules have said?  The same rooms over a history, in this process; nobody is told.

wired       rooms without a broker          judge      a history in, alerts and how often they came out
"""
