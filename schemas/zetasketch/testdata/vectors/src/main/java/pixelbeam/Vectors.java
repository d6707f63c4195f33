package pixelbeam;

import com.google.zetasketch.HyperLogLogPlusPlus;
import com.google.zetasketch.internal.hash.Hash;
import com.google.zetasketch.internal.hllplus.Data;
import com.google.zetasketch.shaded.com.google.protobuf.ByteString;
import java.io.ByteArrayOutputStream;
import java.io.PrintWriter;
import java.io.Writer;
import java.io.OutputStreamWriter;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.zip.GZIPOutputStream;

/**
 * Writes what zetasketch answers, as one JSON object a line, and the bias tables that it holds.
 *
 * <p>A sketch is described by the recipe that makes it, so that large ones need no bytes here: the
 * test follows the recipe and compares size, digest and estimate.
 */
public final class Vectors {
  private static PrintWriter out;

  public static void main(String[] args) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    out = new PrintWriter(new OutputStreamWriter(bytes, StandardCharsets.UTF_8));
    hashes();
    sketches();
    merges();
    curves();
    linearCounting();
    denseEstimates();
    out.close();
    try (var file = new GZIPOutputStream(Files.newOutputStream(Path.of(args[0])))) {
      bytes.writeTo(file);
    }
    bias(Path.of(args[1]));
  }

  // Hashes.

  private static void hashes() {
    Random random = new Random(1);
    for (int length = 0; length <= 200; length++) {
      byte[] value = new byte[length];
      random.nextBytes(value);
      hash(value);
    }
    hash(new byte[1024]);
    hash(new byte[65536]);
    for (String text : TEXTS) {
      line("{\"hash\":\"%s\",\"text\":%s}", hex(Hash.of(text)), quote(text));
    }
    for (long value : new long[] {0, 1, -1, 42, 1L << 40, Long.MIN_VALUE, Long.MAX_VALUE}) {
      line("{\"hash\":\"%s\",\"int64\":%d}", hex(Hash.of(value)), value);
    }
    for (int value : new int[] {0, 1, -1, 42, Integer.MIN_VALUE, Integer.MAX_VALUE}) {
      line("{\"hash\":\"%s\",\"int32\":%d}", hex(Hash.of(value)), value);
    }
  }

  private static final String[] TEXTS = {
    "", " ", "a", "abc", "user-1", "d9428888-122b-11e1-b85c-61cd3cbb3210", "zoë", "Ünïcödé",
    "日本語のユーザー", "Пользователь", "مستخدم", "😀", "👩‍👩‍👧‍👦", "\u0000", "a\u0000b", "\uFFFD", "\u0301",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
  };

  private static void hash(byte[] value) {
    line("{\"hash\":\"%s\",\"bytes\":\"%s\"}", hex(Hash.of(value)), base64(value));
  }

  // Recipes.

  /** A recipe's type, precisions and steps, and the aggregator that followed it. */
  private static final class Sketch {
    final String type;
    final List<String> steps = new ArrayList<>();
    final int p;
    final int sp;
    HyperLogLogPlusPlus<Object> hll;

    @SuppressWarnings("unchecked")
    Sketch(String type, int p, int sp) {
      this.type = type;
      this.p = p;
      this.sp = sp;
      var builder = new HyperLogLogPlusPlus.Builder().normalPrecision(p).sparsePrecision(sp);
      HyperLogLogPlusPlus<?> built =
          switch (type) {
            case "string" -> builder.buildForStrings();
            case "bytes" -> builder.buildForBytes();
            case "int64" -> builder.buildForLongs();
            case "int32" -> builder.buildForIntegers();
            default -> throw new IllegalArgumentException(type);
          };
      hll = (HyperLogLogPlusPlus<Object>) built;
    }

    static Sketch strings() {
      return new Sketch("string", 15, 20);
    }

    /** Adds the values of [from, to), upwards or downwards. */
    Sketch range(String prefix, int from, int to) {
      steps.add(String.format("{\"prefix\":%s,\"from\":%d,\"to\":%d}", quote(prefix), from, to));
      int step = from <= to ? 1 : -1;
      for (int i = from; i != to; i += step) {
        add(prefix, i);
      }
      return this;
    }

    private void add(String prefix, int i) {
      switch (type) {
        case "string" -> hll.add(prefix + i);
        case "bytes" -> hll.add(ByteString.copyFromUtf8(prefix + i));
        case "int64" -> hll.add((long) i);
        case "int32" -> hll.add(i);
        default -> throw new IllegalArgumentException(type);
      }
    }

    Sketch texts(String... texts) {
      StringBuilder list = new StringBuilder();
      for (String text : texts) {
        list.append(list.length() == 0 ? "" : ",").append(quote(text));
        hll.add(text);
      }
      steps.add("{\"texts\":[" + list + "]}");
      return this;
    }

    /**
     * Merges the other, as serialized. One of another precision is merged into what was serialized
     * too: zetasketch 0.1.0 takes values that lie in its buffer for ones of the lower precision.
     */
    Sketch merge(Sketch other) {
      steps.add("{\"merge\":" + other.recipe() + "}");
      if (other.p != p || other.sp != sp) {
        reparse();
      }
      hll.merge(other.hll.serializeToByteArray());
      return this;
    }

    /** Serializes and parses, so that what follows starts from the bytes. */
    @SuppressWarnings("unchecked")
    Sketch reparse() {
      hll = (HyperLogLogPlusPlus<Object>) HyperLogLogPlusPlus.forProto(hll.serializeToByteArray());
      return this;
    }

    String recipe() {
      return String.format(
          "{\"type\":\"%s\",\"p\":%d,\"sp\":%d,\"steps\":[%s]}",
          type, p, sp, String.join(",", steps));
    }

    void write(String name) {
      byte[] bytes = hll.serializeToByteArray();
      String whole =
          bytes.length <= 300 ? String.format(",\"bytes\":\"%s\"", base64(bytes)) : "";
      line(
          "{\"name\":%s,\"recipe\":%s,\"size\":%d,\"sha256\":\"%s\",\"estimate\":%d,"
              + "\"num_values\":%d%s}",
          quote(name), recipe(), bytes.length, sha256(bytes), estimate(bytes), hll.numValues(),
          whole);
    }
  }

  private static void sketches() {
    int[] sizes = {
      0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 500, 1000, 2000, 5000, 8192, 8193, 10000, 12000, 16385,
      20000, 22000, 22500, 23000, 23500, 24000, 30000, 50000, 100000, 200000, 500000, 1000000
    };
    for (int size : sizes) {
      Sketch.strings().range("user-", 0, size).write(size + " users");
    }
    for (int size : new int[] {5, 1000, 22000, 24000, 100000}) {
      Sketch.strings().range("user-", size - 1, -1).write(size + " users, last first");
    }
    Sketch.strings().texts("").write("the empty string");
    Sketch.strings().texts(TEXTS).write("texts");
    List<String> shuffled = Arrays.asList(TEXTS.clone());
    Collections.shuffle(shuffled, new Random(2));
    Sketch.strings().texts(shuffled.toArray(String[]::new)).write("texts, shuffled");
    Sketch.strings().range("a", 0, 100).range("a", 0, 100).write("100 users twice");
    Sketch.strings().range("a", 0, 30000).range("a", 0, 30000).write("30000 users twice");
    for (String type : new String[] {"bytes", "int64", "int32"}) {
      for (int size : new int[] {0, 1, 3, 1000, 20000}) {
        new Sketch(type, 15, 20).range("", 0, size).write(type + ", " + size);
      }
    }
    for (int p = 10; p <= 24; p++) {
      for (int size : new int[] {0, 3, 500, 5000, 100000}) {
        new Sketch("string", p, Math.min(p + 5, 25)).range("p", 0, size).write("p " + p + ", " + size);
      }
    }
    int[][] precisions = {{10, 10}, {10, 25}, {15, 15}, {15, 16}, {15, 21}, {15, 22}, {15, 25}, {18, 25}};
    for (int[] pair : precisions) {
      for (int size : new int[] {0, 3, 300, 5000, 50000}) {
        new Sketch("string", pair[0], pair[1])
            .range("q", 0, size)
            .write(String.format("p %d sp %d, %d", pair[0], pair[1], size));
      }
    }
  }

  private static void merges() {
    int[] sizes = {0, 1, 3, 700, 7000, 21000, 40000, 200000};
    for (int a : sizes) {
      for (int b : sizes) {
        Sketch.strings()
            .range("user-", 0, a)
            .merge(Sketch.strings().range("user-", a / 2, a / 2 + b))
            .write(a + " merged with " + b);
      }
    }
    Sketch many = Sketch.strings();
    for (int i = 0; i < 200; i++) {
      many.merge(Sketch.strings().range("user-", i * 90, i * 90 + 110));
    }
    many.write("200 parts that overlap");
    Sketch dense = Sketch.strings().range("user-", 0, 60000);
    for (int i = 0; i < 50; i++) {
      dense.merge(Sketch.strings().range("user-", i * 2000, i * 2000 + 100));
    }
    dense.range("later-", 0, 1000).write("dense, 50 sparse parts, and more");
    Sketch.strings()
        .range("user-", 0, 500)
        .merge(Sketch.strings().range("x", 0, 10).merge(Sketch.strings().range("y", 0, 30000)))
        .write("merged with a merge");
    new Sketch("int64", 15, 20)
        .range("", 0, 900)
        .merge(new Sketch("int64", 15, 20).range("", 450, 90000))
        .write("int64 merged");
    int[][] precisions = {{10, 15}, {12, 17}, {14, 19}, {15, 20}, {16, 21}, {18, 23}, {20, 25}, {24, 25}, {15, 25}, {10, 10}};
    int[] parts = {0, 3, 800, 9000};
    for (int[] left : precisions) {
      for (int[] right : precisions) {
        if (Arrays.equals(left, right)
            || (left[0] < right[0] && left[1] > right[1])
            || (left[0] > right[0] && left[1] < right[1])) {
          continue;
        }
        for (int a : parts) {
          for (int b : parts) {
            new Sketch("string", left[0], left[1])
                .range("user-", 0, a)
                .merge(new Sketch("string", right[0], right[1]).range("user-", a / 2, a / 2 + b))
                .write(
                    String.format(
                        "p %d sp %d of %d merged with p %d sp %d of %d",
                        left[0], left[1], a, right[0], right[1], b));
          }
        }
      }
    }
    for (int p : new int[] {10, 12, 14, 15, 16, 17}) {
      for (int q : new int[] {11, 15, 16}) {
        for (int b : new int[] {0, 3, 150000}) {
          new Sketch("string", p, p + 5)
              .range("user-", 0, 150000)
              .merge(new Sketch("string", q, q + 5).range("other-", 0, b))
              .write(String.format("dense of p %d merged with p %d of %d", p, q, b));
        }
      }
    }
    new Sketch("string", 15, 20)
        .range("user-", 0, 2000)
        .merge(new Sketch("string", 12, 17).range("user-", 0, 50))
        .reparse()
        .range("more-", 0, 5000)
        .write("more after a merge of lower precision");
  }

  // Curves: [values, size, estimate, first 4 bytes of the digest] of a growing sketch.

  private static void curves() {
    curve("user-", 15, 20, steps(0, 300, 1, 21500, 24500, 1, 0, 200000, 500, 0, 2000000, 50000));
    curve("border-", 15, 20, steps(21500, 24500, 1));
    curve("visitor ", 15, 20, steps(21500, 24500, 1));
    curve("small-", 10, 15, steps(0, 1200, 1));
    for (int p = 10; p <= 18; p++) {
      int m = 1 << p;
      curve("p" + p + "-", p, Math.min(p + 5, 25), steps(0, 6 * m, m / 16));
    }
    for (int p = 19; p <= 24; p++) {
      int m = 1 << p;
      curve("p" + p + "-", p, 25, steps(0, 1 << 21, 1 << 20));
    }
  }

  /** Merges the points of (from, to, step) in order. */
  private static int[] steps(int... ranges) {
    java.util.TreeSet<Integer> points = new java.util.TreeSet<>();
    for (int i = 0; i < ranges.length; i += 3) {
      for (int n = ranges[i]; n <= ranges[i + 1]; n += ranges[i + 2]) {
        points.add(n);
      }
    }
    return points.stream().mapToInt(n -> n).toArray();
  }

  private static void curve(String prefix, int p, int sp, int[] points) {
    Sketch sketch = new Sketch("string", p, sp);
    StringBuilder list = new StringBuilder();
    int n = 0;
    for (int point : points) {
      for (; n < point; n++) {
        sketch.add(prefix, n);
      }
      byte[] bytes = sketch.hll.serializeToByteArray();
      list.append(list.length() == 0 ? "" : ",");
      list.append(
          String.format(
              "[%d,%d,%d,%d]",
              n, bytes.length, estimate(bytes), Long.parseLong(sha256(bytes).substring(0, 8), 16)));
    }
    line(
        "{\"curve\":[%s],\"type\":\"string\",\"prefix\":%s,\"p\":%d,\"sp\":%d}",
        list, quote(prefix), p, sp);
  }

  // Estimates of made-up states, so that every one is seen.

  /** By how much the estimate exceeds the number of sparse values: where it goes up by one. */
  private static void linearCounting() {
    for (int[] pair : new int[][] {{10, 15}, {15, 20}, {18, 23}}) {
      StringBuilder list = new StringBuilder();
      long excess = 0;
      int limit = Math.min(1 << pair[0], 1 << 16);
      for (int n = 0; n <= limit; n++) {
        long now = estimate(state(pair[0], pair[1], n, null)) - n;
        for (; excess < now; excess++) {
          list.append(list.length() == 0 ? "" : ",").append(n);
        }
      }
      line(
          "{\"linear\":[%s],\"p\":%d,\"sp\":%d,\"limit\":%d}", list, pair[0], pair[1], limit);
    }
  }

  /** Estimates of registers of which the first k are v, each less that of k - 1. */
  private static void denseEstimates() {
    for (int p : new int[] {10, 12, 15}) {
      for (int v : new int[] {1, 3}) {
        byte[] registers = new byte[1 << p];
        StringBuilder list = new StringBuilder("0");
        long last = 0;
        for (int k = 1; k <= registers.length; k++) {
          registers[k - 1] = (byte) v;
          long now = estimate(state(p, p + 5, 0, registers));
          list.append(',').append(now - last);
          last = now;
        }
        line("{\"dense\":[%s],\"value\":%d,\"p\":%d,\"sp\":%d}", list, v, p, p + 5);
      }
    }
  }

  private static byte[] state(int p, int sp, int sparseSize, byte[] registers) {
    ByteBuffer hll = ByteBuffer.allocate((1 << p) + 64);
    if (sparseSize > 0) {
      varint(hll.put((byte) 0x10), sparseSize);
    }
    hll.put((byte) 0x18).put((byte) p).put((byte) 0x20).put((byte) sp);
    if (registers != null) {
      varint(hll.put((byte) 0x2a), registers.length);
      hll.put(registers);
    }
    ByteBuffer state = ByteBuffer.allocate(hll.position() + 64);
    state.put(new byte[] {0x08, 0x70, 0x10, 0x00, 0x18, 0x02, 0x20, 0x0b, (byte) 0x82, 0x07});
    varint(state, hll.position());
    state.put(hll.array(), 0, hll.position());
    return Arrays.copyOf(state.array(), state.position());
  }

  private static void varint(ByteBuffer buffer, int value) {
    for (; value >= 0x80; value >>>= 7) {
      buffer.put((byte) (value | 0x80));
    }
    buffer.put((byte) value);
  }

  // The tables of the paper's appendix, for the precisions that BigQuery takes.

  private static void bias(Path path) throws Exception {
    double[][] means = table("meanData");
    double[][] biases = table("biasData");
    try (Writer file = Files.newBufferedWriter(path)) {
      for (int p = 10; p <= Data.MAXIMUM_PRECISION; p++) {
        double[] mean = means[p - Data.MINIMUM_PRECISION];
        double[] bias = biases[p - Data.MINIMUM_PRECISION];
        for (int i = 0; i < mean.length; i++) {
          file.write(p + "\t" + number(mean[i]) + "\t" + number(bias[i]) + "\n");
        }
      }
    }
  }

  private static double[][] table(String name) throws Exception {
    Field field = Data.class.getDeclaredField(name);
    field.setAccessible(true);
    return (double[][]) field.get(null);
  }

  private static String number(double value) {
    return value == Math.rint(value) ? Long.toString((long) value) : Double.toString(value);
  }

  // Output.

  private static long estimate(byte[] bytes) {
    return HyperLogLogPlusPlus.forProto(bytes).longResult();
  }

  private static void line(String format, Object... args) {
    out.print(String.format(format, args));
    out.print('\n');
  }

  private static String hex(long value) {
    return String.format("%016x", value);
  }

  private static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  private static String sha256(byte[] bytes) {
    try {
      StringBuilder text = new StringBuilder();
      for (byte b : MessageDigest.getInstance("SHA-256").digest(bytes)) {
        text.append(String.format("%02x", b));
      }
      return text.toString();
    } catch (java.security.NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }

  private static String quote(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c < 0x20 || c == '"' || c == '\\') {
        quoted.append(String.format("\\u%04x", (int) c));
      } else {
        quoted.append(c);
      }
    }
    return quoted.append('"').toString();
  }
}
