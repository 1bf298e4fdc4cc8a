library(survival)
adsl <- dataset("adsl")
adtte <- dataset("adtte")
adtte$group <- adsl$@GROUP@[match(adtte$USUBJID, adsl$USUBJID)]
compare <- function(estimate, rows) {
  place <- paste0("/results/estimate=", estimate)
  rows <- rows[!is.na(rows$group), ]
  names <- sort(unique(rows$group), method = "radix")
  if (length(names) < 2) return(invisible())
  group <- factor(rows$group, levels = names)
  times <- Surv(number(rows$AVAL), rows$CNSR == "0")
  test <- survdiff(times ~ group)
  show(paste0(place, "/log_rank/statistic"), test$chisq)
  show(paste0(place, "/log_rank/p"), pchisq(test$chisq, length(names) - 1, lower.tail = FALSE))
  model <- coxph(times ~ group, ties = "efron", control = coxph.control(eps = 1e-13, iter.max = 100))
  show(paste0(place, "/likelihood_ratio/statistic"), 2 * diff(model$loglik))
  show(paste0(place, "/proportional_hazards/p"), tail(cox.zph(model, transform = "km")$table[, "p"], 1))
  for (i in seq_along(names)) {
    row <- paste0(place, "/groups/", i - 1)
    show(paste0(row, "/n"), sum(group == names[i]))
    show(paste0(row, "/events"), test$obs[i])
    show(paste0(row, "/expected"), test$exp[i])
    show_median(paste0(row, "/median"), times[group == names[i], 1], times[group == names[i], 2])
    if (i > 1) {
      se <- sqrt(diag(vcov(model)))[i - 1]
      show(paste0(row, "/hazard_ratio/value"), exp(coef(model)[i - 1]))
      show(paste0(row, "/hazard_ratio/log_value"), coef(model)[i - 1])
      show(paste0(row, "/hazard_ratio/standard_error"), se)
      show(paste0(row, "/hazard_ratio/test/p"), 2 * pnorm(-abs(coef(model)[i - 1] / se)))
    }
  }
}
compare("time_normal", adtte[adtte$PARAMCD == "CKNORM", ])
compare("time_to_first_normal", adtte[adtte$PARAMCD == "TTNORM", ])
