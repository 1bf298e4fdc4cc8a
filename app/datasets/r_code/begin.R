# @TITLE@
# Study @STUDY@, revision @REVISION@, protocol @PROTOCOL@, @SOFTWARE@.
# Reads the datasets of that revision and prints figures of the answer, each after its place in it.
base <- Sys.getenv("MYORESPONSE_URL", "http://127.0.0.1:8000")
level <- @LEVEL@

dataset <- function(name) {
  key <- Sys.getenv("MYORESPONSE_KEY")
  address <- paste0(base, "/v1/studies/@STUDY@/datasets/", name, ".csv?revision=@REVISION@")
  headers <- if (nzchar(key)) c(Authorization = paste("Bearer", key)) else NULL
  file <- url(address, headers = headers)
  read.csv(file, na.strings = "", colClasses = "character", encoding = "UTF-8", check.names = FALSE)
}
number <- function(column) as.numeric(column)
is <- function(column, value) !is.na(column) & column == value
day <- function(column) as.numeric(as.Date(column))
show <- function(place, value) {
  if (length(value) == 0 || !is.finite(value)) value <- NA
  cat(place, if (is.na(value)) "null" else formatC(value, digits = 8, format = "g"), "\n")
}
show_rate <- function(place, k, n, rate = "rate") {
  show(paste0(place, "/", rate), if (n > 0) k / n)
  exact <- if (n > 0) binom.test(k, n, conf.level = level)$conf.int else c(NA, NA)
  wilson <- if (n > 0) suppressWarnings(prop.test(k, n, conf.level = level, correct = FALSE))$conf.int else c(NA, NA)
  for (end in 1:2) {
    show(paste0(place, "/intervals/method=clopper-pearson/", c("low", "high")[end]), exact[end])
    show(paste0(place, "/intervals/method=wilson/", c("low", "high")[end]), wilson[end])
  }
}
show_events <- function(place, events, exposure) {
  limits <- if (exposure > 0) poisson.test(events, exposure, conf.level = level)$conf.int else c(NA, NA)
  show(paste0(place, "/events"), events)
  show(paste0(place, "/exposure"), exposure)
  show(paste0(place, "/rate"), if (exposure > 0) events / exposure)
  show(paste0(place, "/intervals/method=poisson_exact/low"), limits[1])
  show(paste0(place, "/intervals/method=poisson_exact/high"), limits[2])
}
# Exact up to 50 differences that are not zero: all patterns of signs of the midranks. Then normal, corrected.
signed_rank <- function(d) {
  d <- signif(d, 12)
  kept <- d[d != 0]
  if (length(d) == 0) return(list(statistic = NA, p = NA))
  if (length(kept) == 0) return(list(statistic = 0, p = 1))
  ranks <- 2 * rank(abs(kept))
  seen <- sum(ranks[kept > 0])
  if (length(kept) > 50)
    return(list(statistic = seen / 2, p = suppressWarnings(wilcox.test(kept, exact = FALSE)$p.value)))
  patterns <- 1
  for (each in ranks) patterns <- (c(patterns, rep(0, each)) + c(rep(0, each), patterns)) / 2
  tails <- c(sum(patterns[1:(seen + 1)]), sum(patterns[(seen + 1):length(patterns)]))
  list(statistic = seen / 2, p = min(1, 2 * min(tails)))
}
pseudomedian <- function(d) {
  d <- signif(d, 12)
  d <- d[d != 0]
  if (length(d) == 0) return(NA)
  pairs <- outer(d, d, "+") / 2
  median(pairs[lower.tri(pairs, diag = TRUE)])
}
show_mean <- function(place, d) {
  test <- if (length(d) > 1 && sd(d) > 0) t.test(d, conf.level = level)
  show(paste0(place, "/mean"), if (length(d)) mean(d))
  show(paste0(place, "/intervals/of=mean/low"), test$conf.int[1])
  show(paste0(place, "/intervals/of=mean/high"), test$conf.int[2])
}
show_change <- function(place, d, t_name = "paired_t") {
  test <- if (length(d) > 1 && sd(d) > 0) t.test(d, conf.level = level)
  show_mean(place, d)
  show(paste0(place, "/median"), if (length(d)) median(d))
  show(paste0(place, "/sd"), if (length(d) > 1) sd(d))
  show(paste0(place, "/tests/method=", t_name, "/statistic"), test$statistic)
  show(paste0(place, "/tests/method=", t_name, "/p"), test$p.value)
  if (length(d)) show(paste0(place, "/intervals/of=pseudomedian/estimate"), pseudomedian(d))
}
show_median <- function(place, time, event) {
  found <- if (length(time)) survival::survfit(survival::Surv(time, event) ~ 1, conf.type = "log-log", conf.int = level)
  row <- if (length(time)) summary(found)$table
  show(paste0(place, "/value"), row["median"])
  show(paste0(place, "/intervals/0/low"), if (length(row)) row[length(row) - 1])
  show(paste0(place, "/intervals/0/high"), if (length(row)) row[length(row)])
}
