# The headline figures of a study: computed by R from the datasets, beside what the service answers.
#   Rscript examples/analysis.R demo
# Needs R 4 with `survival`, which comes with R. MYORESPONSE_URL is the address of the service, MYORESPONSE_KEY an API key
# with `read-patients` where one is needed. The exit status is 1 if a figure differs in its first eight digits.
library(survival)

base <- Sys.getenv("MYORESPONSE_URL", "http://127.0.0.1:8000")
key <- Sys.getenv("MYORESPONSE_KEY")
study <- c(commandArgs(trailingOnly = TRUE), "demo")[1]

dataset <- function(name, query = "") {
  address <- paste0(base, "/v1/studies/", study, "/datasets/", name, ".csv", query)
  file <- url(address, headers = if (nzchar(key)) c(Authorization = paste("Bearer", key)))
  read.csv(file, na.strings = "", colClasses = "character", encoding = "UTF-8", check.names = FALSE)
}
is <- function(column, value) !is.na(column) & column == value

ard <- dataset("ard")  # every figure of the report is a row
revision <- paste0("?revision=", ard$revision[1])  # the other tables show the same state of the data
adsl <- dataset("adsl", revision)
adeff <- dataset("adeff", revision)
adtte <- dataset("adtte", revision)
adae <- dataset("adae", revision)

# Rows of the answer to one question, and the figure in such a row.
rows_of <- function(question, figure) {
  ard[is(ard$analysis, question) & is(ard$part, "results") & is(ard$stat_name, figure), ]
}
answered <- function(question, figure, ...) {
  rows <- rows_of(question, figure)
  wanted <- list(...)
  for (column in names(wanted)) rows <- rows[is(rows[[column]], wanted[[column]]), ]
  if (nrow(rows) == 0) stop("the answer to ", question, " has no ", figure)
  as.numeric(rows$stat[1])
}

different <- 0
text <- function(value) {
  value <- as.numeric(value)
  if (length(value) && is.finite(value)) formatC(value, digits = 8, format = "g") else "-"
}
row <- function(name, computed, answer) {
  if (text(computed) != text(answer)) different <<- different + 1
  cat(sprintf("%-32s%16s%16s\n", name, text(computed), text(answer)))
}
limits <- function(d) if (length(d) > 1 && sd(d) > 0) t.test(d)$conf.int else c(NA, NA)
exact <- function(k, n) if (n > 0) binom.test(k, n)$conf.int else c(NA, NA)

cat(sprintf("Study %s, revision %s, %s\n\n", study, ard$revision[1], ard$software[1]))
cat(sprintf("%-32s%16s%16s\n", "", "by R", "the service"))
row("patients", nrow(adsl), ard$stat[ard$analysis == "populations" & ard$stat_name == "all"])

# Who responded? ADSL has a column for each rule of the protocol, in its order.
rules <- rows_of("response-rates", "responders")
for (i in which(is(rules$context, '{"primary":true}'))) {
  flag <- adsl[[sprintf("RESP%02dFL", i)]]
  measure <- rules$variable[i]
  limit <- function(end) {
    answered("response-rates", paste0("intervals.", end), variable = measure, parameters = rules$parameters[i],
             method = "clopper-pearson")
  }
  row(paste(measure, "responders"), sum(is(flag, "Y")), rules$stat[i])
  row(paste(measure, "evaluable"), sum(!is.na(flag)), rows_of("response-rates", "evaluable")$stat[i])
  row(paste(measure, "rate, low"), exact(sum(is(flag, "Y")), sum(!is.na(flag)))[1], limit("low"))
  row(paste(measure, "rate, high"), exact(sum(is(flag, "Y")), sum(!is.na(flag)))[2], limit("high"))
}

# From which week on? CK as a ratio to baseline, week by week.
ln_ck <- adeff[is(adeff$PARAMCD, "LNCK") & is(adeff$ANL01FL, "Y") & is(adeff$EFFFL, "Y") & !is.na(adeff$CHG), ]
change_at <- function(week) {
  rows <- ln_ck[is(ln_ck$AVISITN, week), ]
  setNames(as.numeric(rows$CHG), rows$USUBJID)
}
weekly <- rows_of("weekly-change", "geometric_mean_ratio")
for (i in seq_len(nrow(weekly))) {
  week <- sub('.*"week":(-?[0-9]+).*', "\\1", weekly$context[i])
  row(paste("CK ratio, week", week), exp(mean(change_at(week))), weekly$stat[i])
}

# Did CK fall more after treatment than before? The weeks are those that the protocol declares.
week_in <- function(figure, pattern) sub(pattern, "\\1", rows_of("ck-change", figure)$context[1])
before <- change_at(week_in("before.mean", ".*\\[(-?[0-9]+),.*"))
after <- change_at(week_in("after.mean", ".*,(-?[0-9]+)\\].*"))
who <- intersect(names(before), names(after))
difference <- after[who] + before[who]
row("CK change, patients", length(who), answered("ck-change", "n"))
row("ratio of ratios", exp(mean(difference)), answered("ck-change", "difference.ratio_of_ratios"))
ratio <- '{"difference.intervals.of":"ratio_of_ratios"}'
row("ratio of ratios, low", exp(limits(difference)[1]), answered("ck-change", "difference.intervals.low", context = ratio))
row("ratio of ratios, high", exp(limits(difference)[2]), answered("ck-change", "difference.intervals.high", context = ratio))
row("p of the t test", if (!anyNA(limits(difference))) t.test(difference)$p.value,
    answered("ck-change", "difference.tests.p", method = "one_sample_t"))

# For how long does CK stay normal?
normal <- adtte[is(adtte$PARAMCD, "CKNORM"), ]
median <- if (nrow(normal)) {
  summary(survfit(Surv(as.numeric(AVAL), CNSR == "0") ~ 1, data = normal, conf.type = "log-log"))$table
}
row("CK normal, patients", nrow(normal), answered("ck-normal-time", "n"))
row("CK normal, events", sum(normal$CNSR == "0"), answered("ck-normal-time", "events"))
row("CK normal, median days", median["median"], answered("ck-normal-time", "median.value"))
row("CK normal, median, low", median["0.95LCL"], answered("ck-normal-time", "median.intervals.low"))
row("CK normal, median, high", median["0.95UCL"], answered("ck-normal-time", "median.intervals.high"))

# How safe was it?
treated <- sum(is(adsl$SAFFL, "Y"))
reacted <- length(unique(adae$USUBJID[is(adae$TRTEMFL, "Y") & is(adae$ARELFL, "Y")]))
reactions <- function(end) answered("adverse-reactions", paste0("intervals.", end), method = "clopper-pearson")
row("treated", treated, answered("adverse-reactions", "safety"))
row("with an adverse reaction", reacted, answered("adverse-reactions", "patients_with_reaction"))
row("adverse reactions, low", exact(reacted, treated)[1], reactions("low"))
row("adverse reactions, high", exact(reacted, treated)[2], reactions("high"))

cat(sprintf("\n%d figures differ.\n", different))
quit(status = if (different > 0) 1 else 0)
