# survival_intervals.R FILE: R's survfit of interval-censored times, once for each line that is read (see turns.py).
suppressPackageStartupMessages(library(survival))
times <- read.csv(commandArgs(trailingOnly = TRUE)[1], header = FALSE)
left <- times$V1
right <- ifelse(is.infinite(times$V2), NA, times$V2)
cat(sprintf('{"name": "R %s, survival %s"}\n', getRversion(), packageVersion("survival")))
lines <- file("stdin", "r")
while (length(readLines(lines, 1)) > 0) {
  took <- system.time(fit <- survfit(Surv(left, right, type = "interval2") ~ 1))
  median <- unname(summary(fit)$table["median"])
  cat(sprintf('{"seconds": %f, "cpu": %f, "found": %f}\n', took[["elapsed"]], took[[1]] + took[[2]], median))
}
