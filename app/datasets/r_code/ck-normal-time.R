library(survival)
adtte <- dataset("adtte")
of <- function(name) adtte[adtte$PARAMCD == name, ]
stays <- of("CKNORM")
time <- number(stays$AVAL)
event <- stays$CNSR == "0"
show("/results/0/n", length(time))
show("/results/0/events", sum(event))
show_median("/results/0/median", time, event)
if (length(time)) {
  curve <- summary(survfit(Surv(time, event) ~ 1, conf.type = "log-log", conf.int = level))
  for (i in seq_along(curve$time)) {
    place <- paste0("/results/0/curve/time=", curve$time[i])
    show(paste0(place, "/at_risk"), curve$n.risk[i])
    show(paste0(place, "/events"), curve$n.event[i])
    show(paste0(place, "/survival"), curve$surv[i])
    if (curve$surv[i] > 0) {
      show(paste0(place, "/low"), curve$lower[i])
      show(paste0(place, "/high"), curve$upper[i])
    }
  }
}
first <- of("TTNORM")
show("/results/0/time_to_first_normal/n", nrow(first))
show("/results/0/time_to_first_normal/events", sum(first$CNSR == "0"))
show_median("/results/0/time_to_first_normal/median", number(first$AVAL), first$CNSR == "0")
strategies <- c(CKNORM = "treatment_policy", CKNORMC = "composite", CKNORMH = "hypothetical")
for (name in names(strategies)) {
  rows <- of(name)
  place <- paste0("/results/0/strategies/strategy=", strategies[name])
  show(paste0(place, "/n"), nrow(rows))
  show(paste0(place, "/events"), sum(rows$CNSR == "0"))
}
