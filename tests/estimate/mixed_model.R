# Rscript tests/estimate/mixed_model.R: the figures of R that tests/estimate/test_mixed_model.py stores.
# R 4.2.2, nlme 3.1.162, emmeans 1.8.4.1, lme4 1.1.31, lmerTest 3.1.3, pbkrtest 0.5.2, numDeriv 2016.8.1.1.
# emmeans takes the information from the `apVar` of gls, which nlme differentiates coarsely (complete data: 25.88 to
# 26.07 where 26 is exact). `df` has therefore the formula of emmeans with the Hessian of numDeriv.
suppressMessages({library(nlme); library(emmeans); library(numDeriv); library(lmerTest); library(pbkrtest)})
all <- as.data.frame(Orthodont)
all$id <- factor(as.character(all$Subject), levels = unique(as.character(all$Subject)))
all$week <- factor(all$age); all$visit <- as.integer(all$week); all$Sex <- factor(all$Sex, levels = c("Female", "Male"))
part <- all[(seq_len(nrow(all)) - 1) %% 7 != 3, ]  # every seventh value is missing
show <- function(name, x) cat(name, format(x, digits = 9), "\n")
fitted <- function(title, formula, data, L) {
  cat("##", title, "\n")
  fit <- do.call(gls, list(formula, data = data, correlation = corSymm(form = ~ visit | id), weights =
    varIdent(form = ~ 1 | visit), control = glsControl(natural = FALSE, tolerance = 1e-10, msTol = 1e-12, maxIter = 500,
    msMaxIter = 500, opt = "optim")))
  X <- model.matrix(formula, data)
  S_of <- function(p) {
    m <- fit$modelStruct; coef(m) <- p[-10]
    sd <- exp(p[10]) * coef(m$varStruct, unconstrained = FALSE, allCoef = TRUE)[c("1", "2", "3", "4")]
    C <- diag(4); C[lower.tri(C)] <- coef(m$corStruct, unconstrained = FALSE); C <- t(C)
    C[lower.tri(C)] <- t(C)[lower.tri(C)]; outer(sd, sd) * C
  }
  at <- function(p) {
    S <- S_of(p); A <- 0; b <- 0; ld <- 0; yy <- 0
    for (i in split(seq_len(nrow(data)), data$id, drop = TRUE)) {
      v <- data$visit[i]; V <- S[v, v, drop = FALSE]; W <- solve(V); x <- X[i, , drop = FALSE]; y <- data$distance[i]
      A <- A + t(x) %*% W %*% x; b <- b + t(x) %*% W %*% y; ld <- ld + log(det(V)); yy <- yy + t(y) %*% W %*% y
    }
    list(dev = as.numeric(ld + log(det(A)) + yy - t(b) %*% solve(A, b)), C = solve(A))
  }
  p <- c(coef(fit$modelStruct), log(fit$sigma)); A <- 2 * solve(hessian(function(p) at(p)$dev, p))
  S <- S_of(p); C <- at(p)$C
  variance <- apply(L, 1, function(l) sum(l * (C %*% l)))
  df <- sapply(seq_len(nrow(L)), function(i) {
    g <- grad(function(p) sum(L[i, ] * (at(p)$C %*% L[i, ])), p); 2 * variance[i]^2 / sum(g * (A %*% g)) })
  show("logLik", as.numeric(logLik(fit))); show("covariances", t(S)[lower.tri(S, TRUE)])
  show("estimates", as.numeric(L %*% coef(fit))); show("errors", sqrt(variance)); show("df", df)
  g <- ref_grid(fit, mode = "satterthwaite", data = data)
  show("emmeans df", apply(L, 1, function(l) g@dffun(l, g@dfargs)))
}
one <- rbind(diag(4), c(1, 1, 0, 0), c(1, 0, 1, 0), c(1, 0, 0, 1))  # intercept, changes, later means
fitted("complete", distance ~ week, all, one)
fitted("part", distance ~ week, part, one)
fitted("part, by sex", distance ~ week * Sex, part, diag(8))
# Of two visits, the second more variable, the model is one of lme4: a variance more at the second visit.
two <- subset(part, age %in% c(8, 12)); two$late <- as.numeric(two$age == 12); two$week <- factor(two$age)
fit <- lmer(distance ~ week + (1 | id) + (0 + late | id), data = two, control = lmerControl(check.nobs.vs.nlev = "ignore",
  check.nobs.vs.nRE = "ignore", optCtrl = list(xtol_rel = 1e-12, ftol_abs = 1e-14)))
cat("## two visits\n"); show("logLik", as.numeric(logLik(fit))); show("variances", as.data.frame(VarCorr(fit))$vcov)
print(coef(summary(fit)), digits = 9); print(coef(summary(fit, ddf = "Kenward-Roger")), digits = 9)
print(calcSatterth <- contest1D(fit, c(1, 1)), digits = 9)
