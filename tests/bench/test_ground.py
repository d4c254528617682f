"""Is the ground that measurements stand on what it says?"""

import uuid

from confluent_kafka.admin import AdminClient, NewTopic

from bench.ground import ends, load
from streams.environment import Environment, client_settings


def test_a_partition_ends_behind_its_last_record(broker):
    """Also on the embedded broker, which names as end where the last batch begins."""
    client, topic = client_settings(Environment(broker=broker)), f"bench-{uuid.uuid4().hex[:8]}"
    admin = AdminClient(client)
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
    load(client, ((topic, b"%d" % number, b"value") for number in range(600)))
    found = ends(client, (topic,), 3)
    assert set(found) == {(topic, one) for one in range(3)}
    assert sum(found.values()) == 600
