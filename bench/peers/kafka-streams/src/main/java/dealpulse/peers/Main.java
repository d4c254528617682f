package dealpulse.peers;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * How would the jobs be written in Kafka Streams?
 *
 * <p>Arguments, as name=value: broker, job (j1, j2), out, app, state (a folder), activity and stage (the source
 * topics), store (rocksdb, memory), threads, guarantee (as processing.guarantee), and any setting of Kafka Streams.
 */
public final class Main {
  private static final Serde<String> TEXT = Serdes.String();
  private static final long PANE_MS = 60_000;
  // Partitions of a replay are read at different speeds: nothing that is a day late is too late.
  private static final TimeWindows MINUTES =
      TimeWindows.ofSizeAndGrace(Duration.ofMillis(PANE_MS), Duration.ofDays(2));
  private static final byte[] ONE = {1};

  private final Map<String, String> said;
  private final StreamsBuilder builder = new StreamsBuilder();

  private Main(Map<String, String> said) {
    this.said = said;
  }

  public static void main(String[] args) {
    Map<String, String> said =
        Arrays.stream(args).map(one -> one.split("=", 2)).collect(Collectors.toMap(one -> one[0], one -> one[1]));
    new Main(said).run();
  }

  private void run() {
    if (said.get("job").equals("j1")) {
      countEvents();
    } else {
      countActivities();
      followDeals();
    }
    KafkaStreams streams = new KafkaStreams(builder.build(), settings());
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.ERROR) {
            Runtime.getRuntime().halt(70);
          }
        });
    streams.start();
  }

  /** J1: events per rep and minute. */
  private void countEvents() {
    byRep(builder.stream(List.of(said.get("activity"), said.get("stage")), events()), "events");
  }

  /** J2: activities per rep and minute. */
  private void countActivities() {
    byRep(builder.stream(said.get("activity"), events()), "activities");
  }

  private void byRep(KStream<String, Event> events, String name) {
    events
        .map((deal, event) -> KeyValue.pair(event.rep(), ONE))
        .groupByKey(Grouped.with("by-rep", TEXT, Serdes.ByteArray()))
        .windowedBy(MINUTES)
        .count(this.<Long>store("reps").withKeySerde(TEXT).withValueSerde(Serdes.Long()))
        .toStream()
        .map((pane, count) -> KeyValue.pair(text(pane), "{\"" + name + "\":" + count + "}"))
        .to(said.get("out"), Produced.with(TEXT, TEXT));
  }

  /** J2: entries, exits and time in stage per stage and minute. */
  private void followDeals() {
    String deals = Deals.STORE;
    builder.addStateStore(
        Stores.keyValueStoreBuilder(
                inMemory() ? Stores.inMemoryKeyValueStore(deals) : Stores.persistentKeyValueStore(deals), TEXT, TEXT)
            .withCachingEnabled());
    builder.stream(said.get("stage"), events())
        .process(Deals::new, deals)
        .groupByKey(Grouped.with("by-stage", TEXT, Totals.SERDE))
        .windowedBy(MINUTES)
        .aggregate(
            () -> Totals.NONE,
            (stage, one, sum) -> sum.plus(one),
            this.<Totals>store("stages").withKeySerde(TEXT).withValueSerde(Totals.SERDE))
        .toStream()
        .map((pane, sum) -> KeyValue.pair(text(pane), sum.json()))
        .to(said.get("out"), Produced.with(TEXT, TEXT));
  }

  private Consumed<String, Event> events() {
    return Consumed.with(TEXT, Event.SERDE).withTimestampExtractor(new Event.OccurredAt());
  }

  private <V> Materialized<String, V, WindowStore<Bytes, byte[]>> store(String name) {
    return Materialized.<String, V, WindowStore<Bytes, byte[]>>as(name)
        .withStoreType(inMemory() ? Materialized.StoreType.IN_MEMORY : Materialized.StoreType.ROCKS_DB);
  }

  private boolean inMemory() {
    return said.get("store").equals("memory");
  }

  private static String text(Windowed<String> pane) {
    return pane.key() + "|" + pane.window().start() / PANE_MS;
  }

  private Properties settings() {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, said.get("app"));
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, said.get("broker"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, said.get("state"));
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, said.get("threads"));
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, said.get("guarantee"));
    settings.put("auto.offset.reset", "earliest");
    said.forEach(
        (name, value) -> {
          if (name.contains(".")) {
            settings.put(name, value);
          }
        });
    return settings;
  }
}
