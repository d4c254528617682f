package dealpulse.peers;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.processor.TimestampExtractor;

/** What the jobs read of an event; the rest of its fields is skipped. */
@JsonIgnoreProperties(ignoreUnknown = true)
record Event(
    @JsonProperty("deal_id") String deal,
    @JsonProperty("rep_id") String rep,
    @JsonProperty("to_stage") String stage,
    @JsonProperty("occurred_at") String occurredAt) {

  private static final ObjectReader READER = new ObjectMapper().readerFor(Event.class);

  /** Reads events; they are never written: what travels on is smaller. */
  static final Serde<Event> SERDE =
      Serdes.serdeFrom(
          (topic, event) -> {
            throw new UnsupportedOperationException("events are only read");
          },
          (topic, bytes) -> {
            try {
              return READER.readValue(bytes);
            } catch (IOException error) {
              throw new UncheckedIOException(error);
            }
          });

  /** The event's own time chooses its pane. */
  static final class OccurredAt implements TimestampExtractor {
    @Override
    public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
      return Instant.parse(((Event) record.value()).occurredAt()).toEpochMilli();
    }
  }
}
