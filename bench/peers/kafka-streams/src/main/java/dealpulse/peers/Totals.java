package dealpulse.peers;

import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** What a change of a deal adds to a stage, and what such changes come to: entries, exits, ms stayed. */
record Totals(int entered, int left, long stayMs) {
  static final Totals NONE = new Totals(0, 0, 0);
  static final Totals ENTRY = new Totals(1, 0, 0);

  static final Serde<Totals> SERDE =
      Serdes.serdeFrom(
          (topic, totals) ->
              totals == null
                  ? null
                  : ByteBuffer.allocate(16)
                      .putInt(totals.entered)
                      .putInt(totals.left)
                      .putLong(totals.stayMs)
                      .array(),
          (topic, bytes) -> {
            if (bytes == null) {
              return null;
            }
            ByteBuffer read = ByteBuffer.wrap(bytes);
            return new Totals(read.getInt(), read.getInt(), read.getLong());
          });

  static Totals exit(long stayMs) {
    return new Totals(0, 1, stayMs);
  }

  Totals plus(Totals other) {
    return new Totals(entered + other.entered, left + other.left, stayMs + other.stayMs);
  }

  String json() {
    return "{\"entered\":" + entered + ",\"left\":" + left + ",\"stay_ms\":" + stayMs + "}";
  }
}
