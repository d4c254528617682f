package dealpulse.peers;

import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Keeps each deal's stage and since when; forwards (stage, what it adds) when the stage changes. */
final class Deals implements Processor<String, Event, String, Totals> {
  static final String STORE = "deals";

  private ProcessorContext<String, Totals> context;
  private KeyValueStore<String, String> deals;

  @Override
  public void init(ProcessorContext<String, Totals> context) {
    this.context = context;
    this.deals = context.getStateStore(STORE);
  }

  @Override
  public void process(Record<String, Event> record) {
    String stage = record.value().stage();
    String before = deals.get(record.key());
    if (before != null) {
      int end = before.lastIndexOf(' ');
      String left = before.substring(0, end);
      if (left.equals(stage)) {
        return;
      }
      long stayMs = record.timestamp() - Long.parseLong(before.substring(end + 1));
      context.forward(record.withKey(left).withValue(Totals.exit(stayMs)));
    }
    deals.put(record.key(), stage + " " + record.timestamp());
    context.forward(record.withKey(stage).withValue(Totals.ENTRY));
  }
}
