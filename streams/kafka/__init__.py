"""The edges to Kafka: the consumer group under Faust, restored state, and one transaction per flush.

poll        the group consumer and its thread           transport   what Faust sees of it
inbox       fetched, not handled yet                    intake      to the rooms, each record once
ownership   generations, positions, lag                 restore     taking over a partition
flusher     when a flush is due, and what is in it      flush       the transaction
edge        how these go together                       room        what a room must be
embedded    a broker for demo and tests                 admin       topics and broker, checked
"""
