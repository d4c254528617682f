"""How is the state computed anew while readers keep what they have?  docs/rebuild.md.

shadow      rooms that tell elsewhere          changes     what has to be told at the switch
"""
