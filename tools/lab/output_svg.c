/* The chart of heap size over time. Colours are those of Okabe and Ito, which people with any
 * colour vision can tell apart; dashes repeat the difference for paper and for grey. */
#include "output.h"
#include <inttypes.h>

enum {
    panel_width = 860,
    panel_height = 340,
    plot_left = 70,
    plot_top = 46,
    plot_width = 590,
    plot_height = 240,
};

static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9",
                                      "#e69f00", "#6a3d9a", "#8c6d1f", "#444444"};
static const char *const dashes[] = {"none", "8 4", "2 3", "10 3 2 3", "14 5"};

static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        default: /* control characters are not allowed in XML, not even escaped */
            fputc((unsigned char)*text < 0x20 ? '?' : *text, out);
        }
    }
}

static double x_of(const struct trace *trace, uint64_t op)
{
    return plot_left +
           (double)plot_width * (double)op / (double)(trace->n_ops > 0 ? trace->n_ops : 1);
}

static double y_of(double value, double most)
{
    return plot_top + plot_height - (double)plot_height * value / most;
}

static bool has_line(const struct lab_result *result)
{
    return result->n_samples > 0 && result->outcome != LAB_SKIPPED;
}

static double highest(const struct lab_result *results, size_t n)
{
    uint64_t most = 1;
    for (size_t i = 0; i < n; i++)
        if (has_line(&results[i]) && results[i].peak_heap > most)
            most = results[i].peak_heap;
    return 1.05 * (double)most;
}

static void put_axes(FILE *out, const struct trace *trace, double most)
{
    char text[16];
    fprintf(out, "<text class=\"title\" x=\"%d\" y=\"24\">", plot_left);
    put_escaped(out, trace->name);
    fprintf(out, ": heap size over %zu operations</text>\n", trace->n_ops);
    for (int i = 0; i <= 4; i++) {
        const double value = most * i / 4, y = y_of(value, most);
        fprintf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>",
                plot_left, plot_left + plot_width, y, y);
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", plot_left - 8,
                y + 4, lab_format_bytes(text, (uint64_t)value));
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%zu</text>\n",
                plot_left + plot_width * i / 4.0, plot_top + plot_height + 18,
                trace->n_ops * (size_t)i / 4);
    }
}

static void put_payload(FILE *out, const struct trace *trace, const struct lab_result *result,
                        double most)
{
    fprintf(out, "<path class=\"payload\" d=\"M%d %d", plot_left, plot_top + plot_height);
    for (size_t i = 0; i < result->n_samples; i++)
        fprintf(out, "L%.1f %.1f", x_of(trace, result->samples[i].op),
                y_of((double)result->samples[i].payload, most));
    fprintf(out, "L%.1f %dZ\"/>\n", x_of(trace, result->samples[result->n_samples - 1].op),
            plot_top + plot_height);
}

static void put_line(FILE *out, const struct trace *trace, const struct lab_result *result,
                     size_t index, double most)
{
    fprintf(out,
            "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" stroke-dasharray=\"%s\" d=\"",
            colours[index % 9], dashes[index % 5]);
    for (size_t i = 0; i < result->n_samples; i++)
        fprintf(out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(trace, result->samples[i].op),
                y_of((double)result->samples[i].heap, most));
    fputs("\"/>\n", out);
}

static void put_legend(FILE *out, const struct lab_result *result, size_t index)
{
    const int x = plot_left + plot_width + 16;
    const int y = plot_top + 24 + 18 * (int)index;
    fprintf(out,
            "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2\" "
            "stroke-dasharray=\"%s\"/>",
            x, x + 34, y - 4, y - 4, colours[index % 9], dashes[index % 5]);
    if (has_line(result))
        fprintf(out, "<text x=\"%d\" y=\"%d\">%s %.1f %%</text>\n", x + 42, y,
                result->strategy->name, 100 * lab_utilisation(result));
    else
        fprintf(out, "<text x=\"%d\" y=\"%d\">%s (not run)</text>\n", x + 42, y,
                result->strategy->name);
}

static void put_panel(FILE *out, const struct trace *trace, const struct lab_result *results,
                      size_t n, size_t panel)
{
    const double most = highest(results, n);
    fprintf(out, "<g transform=\"translate(0 %zu)\">\n", panel * panel_height);
    put_axes(out, trace, most);
    for (size_t i = 0; i < n; i++) {
        if (has_line(&results[i])) {
            put_payload(out, trace, &results[i], most);
            break;
        }
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\">grey: payload; utilisation:</text>\n",
            plot_left + plot_width + 16, plot_top + 4);
    for (size_t i = 0; i < n; i++) {
        if (has_line(&results[i]))
            put_line(out, trace, &results[i], i, most);
        put_legend(out, &results[i], i);
    }
    fputs("</g>\n", out);
}

void output_svg(FILE *out, const struct trace *traces, size_t n_traces,
                const struct lab_result *results, size_t n)
{
    fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %zu\" width=\"%d\" "
        "height=\"%zu\" role=\"img\" aria-label=\"Heap size over time for each strategy\">\n"
        "<style>text{font:12px "
        "system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:14px}"
        ".grid{stroke:#999;stroke-width:.5}.payload{fill:#999;fill-opacity:.35}"
        ".ground{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.ground{fill:#1b1b1b}"
        ".grid{stroke:#666}}</style>\n<rect class=\"ground\" width=\"100%%\" height=\"100%%\"/>\n",
        panel_width, n_traces * panel_height, panel_width, n_traces * panel_height);
    for (size_t i = 0; i < n_traces; i++)
        put_panel(out, &traces[i], results + i * n, n, i);
    fputs("</svg>\n", out);
}
